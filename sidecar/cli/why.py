"""`sidecar why REQUEST_ID [--log FILE]`: which guard refused a request, by which line of the policy, what to change."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sidecar.cli.admin_call import add_management, admin_token
from sidecar.errors import ConfigError
from sidecar.explain.why import REFUSED, reason
from sidecar.telemetry.ecs import from_ecs

FOUND, MISSING = 0, 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the request id and the places to look in."""
    parser.add_argument("request_id", metavar="REQUEST_ID", help="the id from the refusal, or X-Request-ID")
    parser.add_argument(
        "--log", metavar="FILE", help="read a log file (- is stdin) in place of asking a running sidecar"
    )
    add_management(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the refusal of this request; return FOUND, or MISSING if it is not known."""
    if arguments.log is not None:
        found = reason(records(arguments.log, arguments.request_id), arguments.request_id)
        answer = None if found is None else {**found.plain(), "lines": found.lines()}
    else:
        answer = _ask(arguments)
    if answer is None:
        print(f"no refusal of {arguments.request_id} is known here", file=sys.stderr)
        return MISSING
    print(json.dumps(answer, indent=2) if arguments.json else "\n".join(answer["lines"]))
    return FOUND


def records(name: str, request_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of a log that may matter: refusals, and what is about the request. ConfigError: not readable."""
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            wanted = (*(f'"{outcome}"'.encode() for outcome in REFUSED), request_id.encode())
            for line in file:
                if any(text in line for text in wanted):
                    try:
                        record = json.loads(line)
                    except ValueError:
                        continue  # a line of another program, or a torn one
                    if isinstance(record, dict):
                        yield from_ecs(record)
    except OSError as error:
        raise ConfigError(f"cannot read the log {name}: {error.strerror}") from None


def _ask(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from sidecar.admin.client import ask
    from sidecar.admin.roles import Role

    token = admin_token(os.environ, Role.VIEWER)
    answer = ask(arguments.management, "GET", f"/api/why/{quote(arguments.request_id, safe='')}", token)
    return answer["reason"] if isinstance(answer, dict) else None
