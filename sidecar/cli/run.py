"""`sidecar run`: all listeners, until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.process_memory import keep_memory_private
from sidecar.settings import read_settings

if TYPE_CHECKING:
    from sidecar.running import Running


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the option --policy."""
    parser.add_argument("--policy", metavar="FILE", help="the policy (default: SIDECAR_POLICY, or config/policy.yaml)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return 0 after an orderly end."""
    from sidecar.proxy.codec.default_trust import drop_default_trust

    drop_default_trust()
    from sidecar.app import Sidecar, serve
    from sidecar.proxy.descriptors import raise_limit

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="sidecar: %(message)s")
    keep_memory_private()
    raise_limit()
    settings = read_settings(os.environ)
    policy = Path(arguments.policy) if arguments.policy else settings.policy
    serve(lambda: Sidecar(settings, policy, os.environ), _say)
    return 0


def _say(running: Running) -> None:
    print(f"sidecar: listening on port {running.public.port}, management on {running.management.port}", file=sys.stderr)
