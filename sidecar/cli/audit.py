"""`sidecar audit verify | export`: check the audit log, or print it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.cli.vault_session import iso, run_with_vault, shared_options
from sidecar.errors import ConfigError, StoreUnavailable
from sidecar.settings import read_settings
from sidecar.vault.database import is_missing
from sidecar.vault.vault import Vault

if TYPE_CHECKING:
    from sidecar.vault.audit_seal import Seal
    from sidecar.vault.audit_verify import Verdict

_KEY_ID: Final = re.compile(r"[0-9a-f]{16}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands verify and export."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    verify = commands.add_parser(
        "verify", help="say what is proven of the log; exit 1 when an entry was changed, lost, moved or forged"
    )
    verify.add_argument(
        "--anchor",
        metavar="ANCHOR",
        action="append",
        default=[],
        help="an end that an earlier run printed: finds a log that was put back",
    )
    verify.add_argument(
        "--anchors",
        metavar="FILE",
        action="append",
        default=[],
        help="the sidecar's log, or another file with its audit.anchor lines, whatever else is in it; - is stdin",
    )
    verify.add_argument(
        "--retired-key",
        metavar="KEY_ID",
        action="append",
        default=[],
        help="a master key that was given up: its entries are accepted at the beginning of the log, as not proven",
    )
    shared_options(verify)
    verify.set_defaults(work=_verify)

    export = commands.add_parser("export", help="print the log, one JSON object a line, the oldest first")
    export.add_argument("organization", nargs="?", metavar="ORG", help="only this organization's entries")
    export.add_argument("--after", type=int, default=0, metavar="SEQ", help="go on after this entry")
    shared_options(export)
    export.set_defaults(work=_export)


def run(arguments: argparse.Namespace) -> int:
    """Open the vault and run the subcommand; return 0, or 1 when `verify` finds a fault.

    A database that is not there is a fault: it was moved or deleted, or another one is meant.
    """
    if is_missing(read_settings(os.environ).database_url.reveal()):
        raise StoreUnavailable("there is no database where DATABASE_URL says: no audit log is there")
    return run_with_vault(arguments, arguments.work)


async def _verify(vault: Vault, arguments: argparse.Namespace) -> int:
    for key_id in arguments.retired_key:
        if not _KEY_ID.fullmatch(key_id):
            raise ConfigError("--retired-key: write the 16 hexadecimal digits that `audit export` shows as key_id")
    anchors = [*vault.anchors(arguments.anchor), *_anchors(arguments.anchors)]
    verdict = await vault.verify_audit(anchors=anchors, retired=arguments.retired_key)
    if arguments.json:
        print(json.dumps(verdict.as_json()))
    else:
        _print(verdict)
    return 1 if verdict.faults else 0


def _print(verdict: Verdict) -> None:
    for fault in verdict.faults:
        print(fault)
    for proof in verdict.proofs:
        why = f" ({proof.why})" if proof.why else ""
        print(f"{'proven' if proof.proven else 'NOT proven'}: {proof.statement.value}{why}", file=sys.stderr)
    if not verdict.faults:
        print(f"whole; entries: {verdict.entries}; anchor: {verdict.head}")


def _anchors(files: list[str]) -> Iterator[Seal]:
    from sidecar.vault.audit_seal import Seal

    for name in files:
        try:
            with sys.stdin if name == "-" else Path(name).open(encoding="utf-8", errors="replace") as lines:
                found = list(Seal.find(lines))
        except OSError as error:
            raise ConfigError(f"--anchors: {name} cannot be read ({error.strerror})") from None
        if not found:
            raise ConfigError(f"--anchors: no anchor is in {name}")
        yield from found


async def _export(vault: Vault, arguments: argparse.Namespace) -> int:
    from sidecar.vault.audit import as_json

    async for row in vault.audit.rows(after=arguments.after, organization=arguments.organization):
        shown = as_json(row)
        print(json.dumps({**shown, "at": iso(shown["at"] / 1000)}))
    return 0
