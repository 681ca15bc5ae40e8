"""`sidecar credentials …`: third-party keys, for people and scripts. A secret is never an argument."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Final

from sidecar.cli.vault_session import (
    actor,
    as_plain,
    ask_secret,
    iso,
    moment,
    run_with_vault,
    shared_options,
    show,
    show_one,
)
from sidecar.errors import ConfigError
from sidecar.vault.models import DEFAULT_NAME, Change, CredentialSummary
from sidecar.vault.vault import Vault

NO_EXPIRY: Final = 0.0
COLUMNS: Final = ("id", "organization", "provider", "name", "state", "last_four", "fingerprint", "hosts", "expires_at")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands, one for each operation on a credential."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    add = commands.add_parser("add", help="seal and store a key; it comes from stdin or a prompt")
    _place(add)
    add.add_argument("--name", default=DEFAULT_NAME, help="its name, when there are several (default: %(default)s)")
    _hosts(add)
    _expires(add)
    _finish(add, _add)

    listing = commands.add_parser("list", help="show what is stored: fingerprints and last four characters")
    listing.add_argument("organization", nargs="?", metavar="ORG", help="only this organization's")
    _finish(listing, _list)

    rotate = commands.add_parser("rotate", help="replace a key; the old one works until the new one is stored")
    _which(rotate)
    _expires(rotate)
    rotate.add_argument("--test", action="store_true", help="ask the provider first; keep the old key if it says no")
    _url(rotate)
    _finish(rotate, _rotate)

    update = commands.add_parser("update", help="change a key's name, hosts or expiry; the key itself stays")
    _which(update)
    update.add_argument("--name", help="its new name")
    _hosts(update, "where it may be sent from now on (repeat it; the former hosts are forgotten)")
    _expires(update, "90d, 12h, 2027-01-31T12:00:00Z, or never")
    _finish(update, _update)

    delete = commands.add_parser("delete", help="delete a key: requests get it no more, running answers end")
    _which(delete)
    delete.add_argument("--now", action="store_true", help="do not ask first; on a terminal the command does")
    _finish(delete, _delete)

    test = commands.add_parser("test", help="ask the provider whether a key is good: one from stdin, or a stored one")
    test.add_argument("organization", metavar="ORG")
    test.add_argument(
        "subject", metavar="PROVIDER|ID", help="a provider (the key comes from stdin), or a stored key's id"
    )
    _hosts(test)
    _url(test)
    _finish(test, _test)

    imports = commands.add_parser("import-env", help="store the keys that are in environment variables")
    imports.add_argument("organization", metavar="ORG")
    _finish(imports, _import)

    rewrap = commands.add_parser(
        "rewrap", help="seal everything anew under the current ENCRYPTION_KEY; may run any time"
    )
    _finish(rewrap, _rewrap)


def run(arguments: argparse.Namespace) -> int:
    """Open the vault and run the subcommand; return its exit code."""
    return run_with_vault(arguments, arguments.work)


async def _add(vault: Vault, arguments: argparse.Namespace) -> int:
    value = ask_secret(f"key of {arguments.provider} for {arguments.organization}")
    made = await vault.credentials.create(
        actor(),
        arguments.organization,
        arguments.provider,
        value,
        name=arguments.name,
        hosts=arguments.host,
        expires_at=moment(arguments.expires),
    )
    return _said(arguments, made, "stored")


async def _list(vault: Vault, arguments: argparse.Namespace) -> int:
    rows = await vault.credentials.list(arguments.organization)
    show(arguments, [as_plain(row) for row in rows], COLUMNS, "no credentials")
    return 0


async def _rotate(vault: Vault, arguments: argparse.Namespace) -> int:
    old = await vault.credentials.get(arguments.organization, arguments.id)
    value = ask_secret(f"new key of {old.provider} for {old.organization}")
    if arguments.test:
        verdict = await vault.credentials.test_stored(actor(), old.organization, old.id, value=value, url=arguments.url)
        if not verdict.valid:
            print(f"sidecar: {verdict.message}; the old key stays", file=sys.stderr)
            return 1
    new = await vault.credentials.rotate(
        actor(), arguments.organization, arguments.id, value, expires_at=moment(arguments.expires)
    )
    return _said(arguments, new, "rotated")


async def _update(vault: Vault, arguments: argparse.Namespace) -> int:
    ends = NO_EXPIRY if arguments.expires == "never" else moment(arguments.expires)
    change = Change(name=arguments.name, hosts=tuple(arguments.host) if arguments.host else None, expires_at=ends)
    if change == Change():
        raise ConfigError("nothing to change: give --name, --host or --expires")
    return _said(
        arguments, await vault.credentials.update(actor(), arguments.organization, arguments.id, change), "updated"
    )


async def _delete(vault: Vault, arguments: argparse.Namespace) -> int:
    if not arguments.now and sys.stdin.isatty():
        row = await vault.credentials.get(arguments.organization, arguments.id)
        print(f"{row.provider} of {row.organization} ({row.name}), ends in {row.last_four or '…'}:", file=sys.stderr)
        print("requests get it no more, and answers that run with it end.", file=sys.stderr)
        print("Delete it? [y/N] ", end="", file=sys.stderr, flush=True)
        if (await asyncio.to_thread(sys.stdin.readline)).strip().lower() not in ("y", "yes"):
            print("sidecar: it was not deleted", file=sys.stderr)
            return 1
    return _said(arguments, await vault.credentials.delete(actor(), arguments.organization, arguments.id), "deleted")


async def _test(vault: Vault, arguments: argparse.Namespace) -> int:
    stored = arguments.subject.startswith("crd_")
    if stored and arguments.host:
        raise ConfigError("a stored key goes to the hosts sealed with it; leave out --host")
    if stored:
        verdict = await vault.credentials.test_stored(
            actor(), arguments.organization, arguments.subject, url=arguments.url
        )
    else:
        value = ask_secret(f"key of {arguments.subject}")
        verdict = await vault.credentials.test(
            actor(), arguments.organization, arguments.subject, value, hosts=arguments.host, url=arguments.url
        )
    show_one(arguments, as_plain(verdict), verdict.message)
    return 0 if verdict.valid else 1


async def _import(vault: Vault, arguments: argparse.Namespace) -> int:
    done = await vault.credentials.import_env(actor(), arguments.organization, os.environ)
    columns = ("variable", "provider", "credential", "note")
    show(arguments, [as_plain(one) for one in done], columns, "no variable of a known provider is set")
    return 1 if any(one.refused for one in done) else 0


async def _rewrap(vault: Vault, arguments: argparse.Namespace) -> int:
    done = await vault.credentials.rewrap(actor())
    says = f"{done.sealed} sealed anew, {done.current} current already, {done.undecryptable} that no key opens"
    show_one(arguments, as_plain(done), says)
    return 1 if done.undecryptable else 0


def _said(arguments: argparse.Namespace, row: CredentialSummary, what: str) -> int:
    until = f", until {iso(row.expires_at)}" if row.expires_at is not None else ""
    says = f"{row.id}: {row.provider} of {row.organization} ({row.name}) {what}, ends in {row.last_four or '…'}{until}"
    show_one(arguments, as_plain(row), says)
    return 0


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("organization", metavar="ORG")
    parser.add_argument("provider", metavar="PROVIDER", help="openai, anthropic, stripe, …")


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("organization", metavar="ORG")
    parser.add_argument("id", metavar="ID", help="as `list` shows it")


def _hosts(
    parser: argparse.ArgumentParser, says: str = "where it may be sent (repeat it; default: the provider's own)"
) -> None:
    parser.add_argument("--host", action="append", help=says)


def _url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="where to test it, when that is not the provider's own address")


def _expires(parser: argparse.ArgumentParser, says: str = "90d, 12h or 2027-01-31T12:00:00Z") -> None:
    parser.add_argument("--expires", metavar="WHEN", help=says)


def _finish(parser: argparse.ArgumentParser, work: object) -> None:
    shared_options(parser)
    parser.set_defaults(work=work)
