"""`sidecar demo`: a small chat backend behind a sidecar. Nothing to configure, nothing left behind."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.admin.console_link import console_link
from sidecar.secret import Secret
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.running import Running
    from sidecar.vault.vault import Vault

HOST: Final = "127.0.0.1"
ORGANIZATION: Final = "default"
PROVIDER: Final = "openai"
SIGNED_IN: Final = 86_400.0
"""Seconds that the console's link signs in for. The listener is on loopback, and the secret ends with the process."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two ports."""
    parser.add_argument("--port", type=int, default=8080, help="the public port (default %(default)s; 0: any free one)")
    parser.add_argument("--management-port", type=int, default=9090, help="(default %(default)s; 0: any free one)")


def run(arguments: argparse.Namespace) -> int:
    """Serve the demo until SIGINT or SIGTERM; return 0."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="sidecar: %(message)s")
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as scratch:
        asyncio.run(_demo(arguments.port, arguments.management_port, Path(scratch)))
    return 0


async def _demo(port: int, management: int, scratch: Path) -> None:
    from sidecar.app import Sidecar
    from sidecar.demo.backend import serving
    from sidecar.demo.policy import policy_text

    # A random key in the provider's format; the stand-in model demands it.
    key = Secret("sk-proj-" + secrets.token_urlsafe(48))
    async with serving(key=key) as backend:
        public, other = _free_or_any(port), _free_or_any(management)
        for wanted, found in ((port, public), (management, other)):
            if wanted != found:
                print(f"sidecar: port {wanted} is taken; this demo uses another one", file=sys.stderr)
        text = policy_text(backend=backend.url, public=f"{HOST}:{public}", management=f"{HOST}:{other}")
        settings = Settings(
            encryption_key=Secret(secrets.token_urlsafe(48)),
            jwt_secret=Secret(secrets.token_urlsafe(48)),
            database_url=Secret(f"sqlite:///{scratch / 'demo.db'}"),
        )
        sidecar = Sidecar(settings, text, {}, name="the demo's policy", prepare=lambda vault: keep_key(vault, key))
        await sidecar.run(lambda running: _say(running, _token(settings)))


async def keep_key(vault: Vault | None, key: Secret) -> None:
    """Put the key into the vault before the first request can ask for it."""
    from sidecar.vault.models import SIDECAR

    assert vault is not None
    await vault.credentials.create(SIDECAR, ORGANIZATION, PROVIDER, key)


def _free_or_any(port: int) -> int:
    """Return the port, or 0 (any free one) when something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
    return port


def _token(settings: Settings) -> str:
    """Make a token that is worth nothing after this process: its secret is random and in memory only."""
    from sidecar.admin.jwt import make_token
    from sidecar.admin.roles import Role
    from sidecar.clock import SystemClock

    secret = settings.token_secret("the console")
    return make_token(secret, Role.ADMIN, now=SystemClock().now(), ttl=SIGNED_IN, subject="demo")


def _say(running: Running, token: str) -> None:
    public, management = running.public.port, running.management.port
    print(
        f"""
  The chat, guarded:    http://127.0.0.1:{public}/
  What it saw:          http://127.0.0.1:{management}/metrics
  The console:          {console_link(f"http://{HOST}:{management}", token)}

  Try it: send a message with <script> in it, press the button that floods it, or

    curl -i http://127.0.0.1:{public}/api/chat -H 'Content-Type: application/json' \\
         -H 'Origin: https://malicious-site.example' -d '{{"sessionId":"test","message":"hello"}}'

  Ctrl-C ends it; nothing is left behind.
""",
        file=sys.stderr,
        flush=True,
    )
