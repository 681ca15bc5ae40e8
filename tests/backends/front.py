"""The sidecar as an operator puts it before a chat system: three lines of policy, and the ports of the test."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import free_port
from tests.support.sidecar import Running, environment, started

SECRET = "a secret of these tests, long enough to be one"
TOO_LONG = "The message is too long"
TOO_MANY = "Too many requests"

POLICY = """\
version: 1
backend: {{ url: {url}, kind: {kind} }}
cors: {{ allowed_origins: ["http://127.0.0.1:PUBLIC"] }}
# What follows is the tests': a bound that a message of 300 characters passes.
message: {{ max_chars: 200 }}
{more}
"""
OURS = """
# The tests' own: ports, and a file to read events from.
listen: {{ public: {{ address: "127.0.0.1:{public}" }}, management: {{ address: "127.0.0.1:{management}" }} }}
events: {{ log: null, file: "{log}" }}
"""


@contextlib.contextmanager
def front(folder: Path, url: str, kind: str, more: str = "") -> Iterator[Running]:
    """Run a sidecar as its own process, with default limits; `more` is YAML after the policy."""
    with front_of(folder, POLICY.format(url=url, kind=kind, more=more)) as running:
        yield running


@contextlib.contextmanager
def front_of(folder: Path, text: str) -> Iterator[Running]:
    """Run a sidecar with this policy; the tests add ports and a log."""
    policy = folder / "policy.yaml"
    log = folder / "events.log"
    with contextlib.ExitStack() as stack:
        for attempt in range(3):
            public = free_port()
            ours = OURS.format(public=public, management=free_port(), log=log)
            policy.write_text(text.replace("PUBLIC", str(public)) + ours)
            try:
                running = stack.enter_context(started(policy, folder, {"JWT_SECRET": SECRET}))
                break
            except AssertionError as error:
                # A connection of the browser may have taken the port meanwhile.
                if attempt == 2 or "in use" not in str(error):
                    raise
        yield running


def forget_limits(running: Running, folder: Path) -> None:
    """Reset what the limits have counted of the tests' own address, as an operator does."""
    command = (sys.executable, "-m", "sidecar", "token", "--role", "admin")
    told = subprocess.run(
        command, env=environment(folder, JWT_SECRET=SECRET, PATH=""), capture_output=True, check=True, text=True
    )
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.management}/api/rate-limit/reset",
        data=json.dumps({"type": "ip", "key": "127.0.0.1"}).encode(),
        headers={"Authorization": f"Bearer {told.stdout.split()[-1]}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def events(running: Running, event: str) -> list[dict[str, Any]]:
    return [line for line in running.lines() if line["event"] == event]
