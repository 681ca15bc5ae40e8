"""`sidecar token --role ROLE [--org ORG] [--ttl 1h]`: make an admin token, or a link to the console that has one."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import Final

from sidecar.admin.console_link import console_link
from sidecar.admin.jwt import make_token
from sidecar.admin.roles import EVERY, ROLES, Role
from sidecar.clock import SystemClock
from sidecar.errors import ConfigError
from sidecar.settings import SAME, read_settings

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LISTENER: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/?")
_ORGANIZATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the claims of the token."""
    parser.add_argument(
        "--role",
        required=True,
        choices=tuple(ROLES),
        help="viewer reads; operator also resets limits and bans; admin all",
    )
    parser.add_argument(
        "--org", default=EVERY, metavar="ORG", help="the one organization that it is for (default: all)"
    )
    parser.add_argument("--ttl", default="1h", metavar="TIME", help="how long it is good: 30m, 8h, 7d (default 1h)")
    parser.add_argument(
        "--subject", default="", metavar="NAME", help="who it is for, as the audit log will say (default: you)"
    )
    parser.add_argument(
        "--console",
        default="",
        metavar="URL",
        help="print a link that signs in to the console of this management listener, such as http://127.0.0.1:9090",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print a token, or a link that has it, on stdout and what it allows on stderr; return 0."""
    secret = read_settings(os.environ).token_secret("an admin token", SAME)
    if arguments.org != EVERY and not _ORGANIZATION.fullmatch(arguments.org):
        raise ConfigError("an organization is 1 to 128 letters, digits and . _ @ : + -")
    if arguments.console and not _LISTENER.fullmatch(arguments.console):
        raise ConfigError("--console takes the address of a management listener, like http://127.0.0.1:9090")
    now, ttl, role = SystemClock().now(), seconds(arguments.ttl), ROLES[arguments.role]
    subject = arguments.subject or _user()
    token = make_token(secret, role, now=now, ttl=ttl, organization=arguments.org, subject=subject)
    expires = datetime.fromtimestamp(int(now + ttl), UTC).isoformat().replace("+00:00", "Z")
    if arguments.json:
        shown = {
            "token": token,
            "role": role.word,
            "organization": arguments.org,
            "subject": subject,
            "expires_at": expires,
            **({"link": console_link(arguments.console, token)} if arguments.console else {}),
        }
        print(json.dumps(shown))
    else:
        print(console_link(arguments.console, token) if arguments.console else token)
        print(_says(role, arguments.org, expires), file=sys.stderr)
    return 0


def seconds(text: str) -> float:
    """Return what `30m`, `8h` or `7d` is in seconds, or raise ConfigError."""
    met = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if met is None:
        raise ConfigError(f"--ttl {text[:40]!r} is not a time; write a number and one of s, m, h, d, like 8h")
    return float(int(met[1]) * UNITS[met[2]])


def _says(role: Role, organization: str, expires: str) -> str:
    whose = "every organization" if organization == EVERY else f"the organization {organization}"
    return f"role {role.word}, {whose}, until {expires}"


def _user() -> str:
    """Return who runs this; a container's user may have no name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError, ImportError):
        return "cli"
