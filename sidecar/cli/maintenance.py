"""`sidecar maintenance on|off|status`: refuse every request with a message, or serve again."""

from __future__ import annotations

import argparse
import json
import os
import sys

from sidecar.admin.roles import Role
from sidecar.cli.admin_call import add_management, admin_token
from sidecar.cli.token import seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the state to set and the message."""
    parser.add_argument("state", choices=("on", "off", "status"), help="what to do")
    parser.add_argument("--message", metavar="TEXT", help="the sentence that clients receive")
    parser.add_argument("--retry-after", metavar="DURATION", help="the value of Retry-After (default 5m)")
    add_management(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Set or show the state in the running sidecar; return 0."""
    from sidecar.admin.client import ask

    body: dict[str, str | int] = {}
    if arguments.message is not None:
        body["message"] = arguments.message
    if arguments.retry_after is not None:
        body["retry_after"] = int(seconds(arguments.retry_after))
    method, role = {"on": ("POST", Role.OPERATOR), "off": ("DELETE", Role.OPERATOR)}.get(
        arguments.state, ("GET", Role.VIEWER)
    )
    token = admin_token(os.environ, role)
    answer = ask(arguments.management, method, "/api/maintenance", token, body if arguments.state == "on" else None)
    if arguments.json:
        print(json.dumps(answer))
        return 0
    if answer["on"]:
        print(f"maintenance is on: 503, {answer['message']!r}, Retry-After {answer['retry_after']:.0f} s")
    else:
        print("maintenance is off")
    print("other replicas have a switch of their own; the policy's `maintenance` holds for all", file=sys.stderr)
    return 0
