"""Credentials in the database. Every statement but the ones for the process itself names the organization."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sidecar.vault.audit import AuditLog, Entry
from sidecar.vault.database import Database, Row
from sidecar.vault.errors import Conflict, NotFound
from sidecar.vault.models import SealedCredential, is_id, is_organization

MAX_ROWS: Final = 10_000
MAX_PER_PROVIDER: Final = 32
ONE: Final = "organization = ? AND id = ?"
ORDER: Final = f"ORDER BY organization, provider, created_at DESC, id LIMIT {MAX_ROWS}"


class CredentialStore:
    """Rows in and out; each change is in one transaction with its audit entry."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    async def create(self, stored: SealedCredential, entry: Entry) -> None:
        """Insert a credential with its audit entry. Raises Conflict at MAX_PER_PROVIDER, or when the name is taken."""
        async with self._database.write() as write:
            taken = await write.rows(
                "SELECT id FROM credentials WHERE organization = ? AND provider = ?",
                stored.organization,
                stored.provider,
            )
            if len(taken) >= MAX_PER_PROVIDER:
                raise Conflict(f"there are {MAX_PER_PROVIDER} credentials of this provider already")
            await write.insert("credentials", _columns(stored))
            await write.changed(credentials=True)
            await self._audit.append(write, entry)

    async def replace(self, old: SealedCredential, new: SealedCredential, entry: Entry) -> None:
        """Write `new` over `old`, or raise Conflict when the row was changed meanwhile."""
        columns = _columns(new)
        changes = ", ".join(f"{name} = ?" for name in columns)
        async with self._database.write() as write:
            done = await write.run(
                f"UPDATE credentials SET {changes} WHERE {ONE} AND version = ?",
                *columns.values(),
                old.organization,
                old.id,
                old.version,
            )
            if done != 1:
                raise Conflict("another call changed this credential in the meantime")
            await write.changed(credentials=True)
            await self._audit.append(write, entry)

    async def delete(self, organization: str, credential: str, entry: Entry) -> SealedCredential:
        """Delete and return what was there, or raise NotFound."""
        async with self._database.write() as write:
            found = await write.rows(f"SELECT * FROM credentials WHERE {ONE}", organization, credential)
            if not found:
                raise NotFound("no such credential in this organization")
            await write.run(f"DELETE FROM credentials WHERE {ONE}", organization, credential)
            await write.changed(credentials=True)
            await self._audit.append(write, entry)
            return _stored(found[0])

    async def erase(self, organization: str, entry: Entry) -> dict[str, int]:
        """Delete all that one organization has here; the audit log stays, its chain needs it."""
        gone: dict[str, int] = {}
        async with self._database.write() as write:
            for table in ("credentials", "handles", "revoked_sessions"):
                gone[table] = await write.run(f"DELETE FROM {table} WHERE organization = ?", organization)
            await write.changed(credentials=True, handles=True)
            told = Entry(entry.at, entry.actor, entry.action, entry.outcome, organization, detail=gone)
            await self._audit.append(write, told)
        return gone

    async def get(self, organization: str, credential: str) -> SealedCredential:
        """Return one row, or raise NotFound."""
        found: list[Row] = []
        if is_id(credential) and is_organization(organization):
            query = f"SELECT * FROM credentials WHERE {ONE}"
            found = await self._database.rows(query, organization, credential)
        if not found:
            raise NotFound("no such credential in this organization")
        return _stored(found[0])

    async def anywhere(self, credential: str) -> SealedCredential:
        """Return one row of whatever organization, or raise NotFound: for tokens of all organizations."""
        query = "SELECT * FROM credentials WHERE id = ?"
        found = await self._database.rows(query, credential) if is_id(credential) else []
        if not found:
            raise NotFound("no such credential")
        return _stored(found[0])

    async def of(self, organization: str, provider: str) -> list[SealedCredential]:
        """Return an organization's credentials of one provider, the newest first."""
        query = (
            "SELECT * FROM credentials WHERE organization = ? AND provider = ? "
            f"ORDER BY created_at DESC, id LIMIT {MAX_PER_PROVIDER}"
        )
        return [_stored(row) for row in await self._database.rows(query, organization, provider)]

    async def list(self, organization: str) -> Sequence[SealedCredential]:
        """Return one organization's rows."""
        query = f"SELECT * FROM credentials WHERE organization = ? {ORDER}"
        return [_stored(row) for row in await self._database.rows(query, organization)]

    async def every(self) -> Sequence[SealedCredential]:
        """Return the rows of all organizations: for the process itself, and for tokens of all."""
        rows = await self._database.rows(f"SELECT * FROM credentials {ORDER}")
        return [_stored(row) for row in rows]


def _columns(stored: SealedCredential) -> dict[str, Any]:
    return {**asdict(stored), "hosts": json.dumps(stored.hosts)}


def _stored(row: Row) -> SealedCredential:
    try:
        hosts = tuple(str(host) for host in json.loads(row["hosts"]))
    except (ValueError, TypeError):
        hosts = ()  # the table was edited; the hosts inside the envelope are the ones that count
    return SealedCredential(**{**row, "hosts": hosts})
