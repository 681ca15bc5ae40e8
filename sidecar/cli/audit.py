"""`sidecar audit verify | export`: is the log whole, and what does it say."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Final

from sidecar.cli.vault_session import iso, run_with_vault, shared_options
from sidecar.errors import ConfigError
from sidecar.vault.vault import Vault

_ANCHOR: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    verify = commands.add_parser("verify", help="walk the whole chain; exit 1 when an entry was changed, lost or moved")
    verify.add_argument(
        "--anchor", metavar="SEQ:HASH", help="an end that an earlier run printed: finds a log that was put back"
    )
    shared_options(verify)
    verify.set_defaults(work=_verify)

    export = commands.add_parser("export", help="print the log, one JSON object a line, the oldest first")
    export.add_argument("organization", nargs="?", metavar="ORG", help="only this organization's entries")
    export.add_argument("--after", type=int, default=0, metavar="SEQ", help="go on after this entry")
    shared_options(export)
    export.set_defaults(work=_export)


def run(arguments: argparse.Namespace) -> int:
    return run_with_vault(arguments, arguments.work)


async def _verify(vault: Vault, arguments: argparse.Namespace) -> int:
    from sidecar.vault.audit import ChainAnchor

    anchor = None
    if arguments.anchor is not None:
        parts = _ANCHOR.fullmatch(arguments.anchor)
        if parts is None:
            raise ConfigError("--anchor: write SEQ:HASH as an earlier `sidecar audit verify` printed it")
        anchor = ChainAnchor(int(parts[1]), parts[2])
    verdict = await vault.audit.verify(anchor)
    if arguments.json:
        told = {"entries": verdict.entries, "unkeyed": verdict.unkeyed, "anchor": str(verdict.head)}
        print(json.dumps({"whole": not verdict.faults, **told, "faults": list(verdict.faults)}))
        return 1 if verdict.faults else 0
    for fault in verdict.faults:
        print(fault)
    if verdict.unkeyed:
        print(
            f"{verdict.unkeyed} entries were made under a key that is not here: chained, but not proven",
            file=sys.stderr,
        )
    if not verdict.faults:
        print(f"whole; entries: {verdict.entries}; anchor: {verdict.head}")
    return 1 if verdict.faults else 0


async def _export(vault: Vault, arguments: argparse.Namespace) -> int:
    from sidecar.vault.audit import as_json

    async for row in vault.audit.rows(after=arguments.after, organization=arguments.organization):
        shown = as_json(row)
        print(json.dumps({**shown, "at": iso(shown["at"] / 1000)}))
    return 0
