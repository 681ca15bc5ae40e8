"""`sidecar handle …`: phantom keys for the egress listener."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from sidecar.cli.vault_session import actor, as_plain, iso, moment, run_with_vault, shared_options, show, show_one
from sidecar.errors import ConfigError
from sidecar.vault.vault import Vault

COLUMNS: Final = ("id", "organization", "provider", "name", "session", "expires_at", "revoked_at")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands create, list and revoke."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    create = commands.add_parser("create", help="make a handle and print it, once")
    create.add_argument("organization", metavar="ORG")
    create.add_argument("provider", metavar="PROVIDER")
    create.add_argument(
        "--expires", metavar="WHEN", default="30d", help="30d, 12h or 2027-01-31T12:00:00Z (default: 30d)"
    )
    create.add_argument("--session", default="", metavar="KEY", help="only for the session of this key")
    create.add_argument("--name", default="", help="what it is for")
    shared_options(create)
    create.set_defaults(work=_create)

    listing = commands.add_parser("list", help="show stored handles, without the handles themselves")
    listing.add_argument("organization", nargs="?", metavar="ORG", help="only this organization's")
    shared_options(listing)
    listing.set_defaults(work=_list)

    revoke = commands.add_parser("revoke", help="refuse a handle, or all of a session, from now on")
    revoke.add_argument("organization", metavar="ORG")
    revoke.add_argument("id", nargs="?", metavar="ID", help="as `list` shows it")
    revoke.add_argument("--session", metavar="KEY", help="all handles of this session, those of requests too")
    shared_options(revoke)
    revoke.set_defaults(work=_revoke)


def run(arguments: argparse.Namespace) -> int:
    """Open the vault and run the subcommand; return its exit code."""
    return run_with_vault(arguments, arguments.work)


async def _create(vault: Vault, arguments: argparse.Namespace) -> int:
    token, made = await vault.handles.create(
        actor(),
        arguments.organization,
        arguments.provider,
        expires_at=moment(arguments.expires) or 0,
        session=arguments.session,
        name=arguments.name,
    )
    if not arguments.json:
        print(f"{made.id}, until {iso(made.expires_at)}; it is shown this once:", file=sys.stderr)
    show_one(arguments, {**as_plain(made), "handle": token.reveal()}, token.reveal())
    return 0


async def _list(vault: Vault, arguments: argparse.Namespace) -> int:
    rows = await vault.handles.list(arguments.organization)
    show(arguments, [as_plain(row) for row in rows], COLUMNS, "no handles")
    return 0


async def _revoke(vault: Vault, arguments: argparse.Namespace) -> int:
    if (arguments.id is None) == (arguments.session is None):
        raise ConfigError("say which handle: its ID, or --session KEY for all of a session")
    if arguments.session is not None:
        await vault.handles.revoke_session(actor(), arguments.organization, arguments.session)
        says = {"organization": arguments.organization, "session": arguments.session}
        show_one(arguments, says, f"all handles of the session {arguments.session[:8]} are revoked")
        return 0
    revoked = await vault.handles.revoke(actor(), arguments.organization, arguments.id)
    show_one(arguments, as_plain(revoked), f"{revoked.id} is revoked")
    return 0
