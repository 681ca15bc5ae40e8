"""Shared by the commands that call a running sidecar's admin API."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from sidecar.admin.jwt import make_token
from sidecar.admin.roles import Role
from sidecar.clock import SystemClock
from sidecar.secret import Secret
from sidecar.settings import SAME, read_settings

MANAGEMENT: Final = "http://127.0.0.1:9090"
TTL: Final = 60.0
"""Seconds that the token of one call is good for."""


def add_management(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the management listener."""
    parser.add_argument(
        "--management",
        default=MANAGEMENT,
        metavar="URL",
        help=f"the sidecar's management listener (default {MANAGEMENT})",
    )


def admin_token(environ: Mapping[str, str], role: Role) -> Secret:
    """Return a token for one call, made with JWT_SECRET. ConfigError: there is no secret."""
    secret = read_settings(environ).token_secret("the call to the running sidecar", SAME)
    return Secret(make_token(secret, role, now=SystemClock().now(), ttl=TTL))
