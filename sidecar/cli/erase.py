"""`sidecar erase --session ID | --ip A | --org ORG`: delete what is stored about a subject.

The command calls the admin API of a running sidecar, which deletes from its memory and the stores, informs
the other replicas and writes the audit entry. The token for the call is made here and lasts a minute.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from sidecar.admin.client import ask
from sidecar.admin.roles import Role
from sidecar.cli.admin_call import add_management, admin_token
from sidecar.session import key_of

OPTIONS: Final = frozenset({"--session", "--ip", "--org", "--management", "--json", "--help", "-h"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subject and the address of the management listener."""
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--session", metavar="ID", help="a session, by its id or its key (64 hex digits)")
    subject.add_argument("--ip", metavar="A", help="an address")
    subject.add_argument("--org", metavar="ORG", help="an organization, with its credentials and handles")
    add_management(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def joined(words: Sequence[str]) -> list[str]:
    """Join `--session` with an id that begins with a hyphen: argparse would take that for an option."""
    made: list[str] = []
    for word in words:
        if made and made[-1] == "--session" and word.startswith("-") and word.partition("=")[0] not in OPTIONS:
            made[-1] = f"--session={word}"
        else:
            made.append(word)
    return made


def run(arguments: argparse.Namespace) -> int:
    """Erase the subject in the running sidecar and print how many of each kind were deleted; return 0."""
    token = admin_token(os.environ, Role.ADMIN)
    kind, name = _subject(arguments)
    answer = ask(arguments.management, "DELETE", f"/api/subjects/{kind}/{quote(name, safe='')}", token)
    if arguments.json:
        print(json.dumps(answer))
        return 0
    for what, count in answer["erased"].items():
        print(f"{count:6d} {what}")
    return 0


def _subject(arguments: argparse.Namespace) -> tuple[str, str]:
    if arguments.session is not None:
        text: str = arguments.session
        # Only the hash is sent: an id in a path would be written to access logs.
        is_key = len(text) == 64 and all(character in "0123456789abcdef" for character in text)
        return "session", text if is_key else key_of(text)
    if arguments.ip is not None:
        return "ip", arguments.ip
    return "organization", arguments.org
