"""`sidecar suggest`: print routes for an unknown backend, from what the running sidecar has observed of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.admin.roles import Role
from sidecar.cli.admin_call import admin_token
from sidecar.errors import ConfigError
from sidecar.policy.document.read import draft_policy
from sidecar.secret import Secret
from sidecar.settings import POLICY

LARGEST: Final = 16 << 20
TIMEOUT: Final = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the policy and the address of the management listener."""
    parser.add_argument("--policy", metavar="FILE", help="the policy that the sidecar runs (default: SIDECAR_POLICY)")
    parser.add_argument("--management", metavar="URL", help="its management listener (default: as the policy says)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with what each route rests on")
    parser.epilog = (
        "Run the sidecar before the backend with `mode: observe`, chat for a minute, then call this. The token is made "
        "with JWT_SECRET, which the running sidecar needs too."
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the suggested routes as YAML or JSON; return 0, or 1 when the sidecar does not give them."""
    token = admin_token(os.environ, Role.VIEWER)
    host, port = _address(arguments)
    status, body = _ask(host, port, token)
    if status != 200:
        said = body.get("error", "") if isinstance(body, dict) else ""
        print(f"sidecar suggest: {host}:{port} answers {status}: {said}", file=sys.stderr)
        return 1
    print(json.dumps(body, indent=2, ensure_ascii=False) if arguments.json else body["yaml"], end="")
    return 0


def _address(arguments: argparse.Namespace) -> tuple[str, int]:
    if arguments.management:
        url = urlsplit(arguments.management)
        if url.scheme != "http" or not url.hostname:
            raise ConfigError(f"--management {arguments.management[:60]!r} is not like http://127.0.0.1:9090")
        return url.hostname, url.port or 80
    name = arguments.policy or os.environ.get("SIDECAR_POLICY") or POLICY
    address = draft_policy(Path(name), os.environ, name=name).schema.listen.management.address
    return ("127.0.0.1" if address.host in ("0.0.0.0", "::", "") else address.host), address.port  # noqa: S104


def _ask(host: str, port: int, token: Secret) -> tuple[int, Any]:
    connection = HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/api/suggestions", headers={"Authorization": f"Bearer {token.reveal()}"})
        answer = connection.getresponse()
        body = answer.read(LARGEST)
    except (OSError, HTTPException) as error:
        raise ConfigError(f"no sidecar answers at {host}:{port}: {type(error).__name__}") from None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, {}
