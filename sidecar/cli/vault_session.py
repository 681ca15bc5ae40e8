"""What the commands of the vault share: opening it after the environment, asking for a secret, printing."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.clock import SystemClock
from sidecar.errors import ConfigError, PolicyError
from sidecar.events import SecurityEvent, Served
from sidecar.secret import Secret
from sidecar.settings import SAME, read_settings
from sidecar.vault.keys import MasterKeys
from sidecar.vault.models import Actor
from sidecar.vault.providers import Catalogue
from sidecar.vault.vault import Vault

MAX_SECRET: Final = 64 * 1024
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")


class Unwatched:
    """An event sink for a command: what it does is in the audit log and on its own output."""

    def record(self, event: SecurityEvent) -> None:
        """Drop the event."""

    def served(self, served: Served) -> None:
        """Drop the summary."""


def shared_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command of the vault has: --json and --policy."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--policy", metavar="FILE", help="the policy with the providers of your own")


def run_with_vault(arguments: argparse.Namespace, work: Callable[[Vault, argparse.Namespace], Awaitable[int]]) -> int:
    """Open the vault, do the work, close it; return the exit code."""

    async def main() -> int:
        async with opened(arguments.policy) as vault:
            return await work(vault, arguments)

    return asyncio.run(main())


@asynccontextmanager
async def opened(policy: str | None) -> AsyncIterator[Vault]:
    """Open the vault that the environment names, as the running sidecar would."""
    settings, clock = read_settings(os.environ), SystemClock()
    master = settings.master_secret(instead=SAME)
    if master.fallback:
        print("sidecar: ENCRYPTION_KEY is not set, the vault falls back to JWT_SECRET", file=sys.stderr)
    keys = await MasterKeys.derive(
        clock,
        encryption_key=settings.encryption_key,
        previous=settings.encryption_key_previous,
        jwt_secret=settings.jwt_secret,
    )
    catalogue = Catalogue.load(_custom_providers(policy, settings.policy))
    vault = await Vault.open(
        settings.database_url.reveal(), keys, catalogue, clock=clock, events=Unwatched(), watch=False
    )
    try:
        yield vault
    finally:
        await vault.close()


def actor() -> Actor:
    """Return who is at the keyboard, as far as the system knows."""
    try:
        return Actor(f"cli:{getpass.getuser()}")
    except (KeyError, OSError):  # a container's user without a name
        return Actor(f"cli:{os.getuid()}")


def ask_secret(prompt: str) -> Secret:
    """Return a secret from a prompt that does not show it, or from stdin when that is no terminal."""
    if sys.stdin.isatty():
        return Secret(getpass.getpass(f"{prompt}: ").strip())
    text = sys.stdin.read(MAX_SECRET + 1)
    if len(text) > MAX_SECRET:
        raise ConfigError("what came on stdin is too long for a secret")
    if not text.strip():
        raise ConfigError("no secret came on stdin; give it there, or run the command on a terminal to be asked")
    return Secret(text.strip())


def moment(text: str | None) -> float | None:
    """Return epoch seconds of `90d`, `12h` (from now) or `2027-01-31` / `2027-01-31T12:00:00Z`; None stays."""
    if text is None:
        return None
    duration = _DURATION.fullmatch(text)
    if duration:
        return SystemClock().now() + int(duration[1]) * UNITS[duration[2]]
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"not a time: {text[:40]!a}; write 90d, 12h or 2027-01-31T12:00:00Z") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def iso(seconds: float | None) -> str | None:
    """Return a time as people and programs read it."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").replace(".000Z", "Z")


def as_plain(record: Any) -> dict[str, Any]:
    """Return a record for JSON, its times in ISO 8601. Records of lists contain no secret."""
    return {key: iso(value) if key.endswith("_at") else value for key, value in asdict(record).items()}


def show(arguments: argparse.Namespace, rows: Sequence[dict[str, Any]], columns: Sequence[str], empty: str) -> None:
    """Print rows: JSON when asked, a table on a terminal, else columns with tabs between them."""
    if arguments.json:
        print(json.dumps(list(rows)))
    elif not rows:
        print(empty, file=sys.stderr)
    elif sys.stdout.isatty():
        _table(rows, columns)
    else:
        for row in rows:
            print("\t".join(_cell(row[column]) for column in columns))


def show_one(arguments: argparse.Namespace, row: dict[str, Any], says: str) -> None:
    """Print one row as JSON with --json, and `says` otherwise."""
    print(json.dumps(row) if arguments.json else says)


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")  # an id that is cut cannot be copied
    for row in rows:
        table.add_row(*(Text(_cell(row[column])) for column in columns))  # Text: names are no markup
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _custom_providers(named: str | None, usual: Any) -> dict[str, dict[str, Any]]:
    """Return the providers that the policy describes; without a policy there are the built-in ones."""
    if named is None and not usual.exists():
        return {}
    from pathlib import Path

    from sidecar.policy.document.read import draft_policy

    source = Path(named) if named is not None else usual
    try:
        providers = draft_policy(source, os.environ).schema.providers
    except PolicyError as error:
        if named is not None:
            raise
        print(f"sidecar: {error.source} is not read, its own providers are unknown here", file=sys.stderr)
        return {}
    return {name: provider.entry() for name, provider in providers.items()}
