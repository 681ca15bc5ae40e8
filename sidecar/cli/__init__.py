"""The command line: one file per command.

A command's module has `configure(parser)` and `run(arguments) -> exit code`, and is imported only when its command is
called, so that `sidecar check` does not pay for a proxy. One whose values may begin with a hyphen has `joined(words)`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from sidecar import FORM, __version__

COMMANDS: Final = {
    "run": "run all listeners",
    "check": "compile a policy and print every problem",
    "explain": "print what each guard would decide about a request",
    "why": "print which guard refused a request, and by which line of the policy",
    "replay": "print what another policy would have done with the requests of a log",
    "diff": "print what changes in effect between two policies",
    "maintenance": "refuse every request with a message, or serve again",
    "drain": "report not ready before the end",
    "suggest": "print routes for an unknown backend, from what was observed of it",
    "kustomize": "write an overlay that puts the sidecar before a workload of given manifests",
    "schema": "print the JSON Schema of the policy",
    "guards": "list the guards that installed packages bring",
    "kinds": "list the chat systems that are known, or show one",
    "prices": "print what models cost, as budgets and metrics count it",
    "demo": "run a small chat backend behind a sidecar",
    "credentials": "keep third-party keys: add, list, rotate, delete, test, import, rewrap",
    "handle": "keep phantom keys for the egress listener: create, list, revoke",
    "token": "make an admin token",
    "audit": "check or print the audit log",
    "erase": "delete what is stored about a subject",
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; `run` is the command's function. Wrong usage exits with 2."""
    parser = argparse.ArgumentParser(prog="sidecar", description="A security sidecar for chat backends.")
    parser.add_argument("--version", action="version", version=f"sidecar {__version__} ({FORM})")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == wanted:
            module = import_module(f"sidecar.cli.{name}")
            module.configure(command)
            command.set_defaults(run=module.run)
            if hasattr(module, "joined"):
                argv = module.joined(argv)
    return parser.parse_args(argv)
