"""`sidecar drain`: report not ready, so that load balancers send nothing new; for a preStop hook."""

from __future__ import annotations

import argparse
import json
import os
import time

from sidecar.admin.roles import Role
from sidecar.cli.admin_call import add_management, admin_token
from sidecar.cli.token import seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sidecar drain`."""
    parser.add_argument("--wait", metavar="DURATION", help="return after this long, so that balancers notice first")
    add_management(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Make the running sidecar report not ready, wait if asked to, and return 0."""
    from sidecar.admin.client import ask

    wait = seconds(arguments.wait) if arguments.wait is not None else 0.0
    answer = ask(arguments.management, "POST", "/api/drain", admin_token(os.environ, Role.OPERATOR))
    time.sleep(wait)
    print(json.dumps(answer) if arguments.json else "draining: not ready from now on; SIGTERM ends the process")
    return 0
