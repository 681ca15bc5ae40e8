"""Credentials in the database. Every statement but the ones for the process itself names the organization."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, TypeVar

from sqlalchemy import Delete, Select, Update, delete, insert, select, update
from sqlalchemy.engine import Row

from sidecar.vault.audit import AuditLog, Entry
from sidecar.vault.database import Database, Write
from sidecar.vault.errors import Conflict, NotFound
from sidecar.vault.models import SealedCredential, is_id, is_organization
from sidecar.vault.tables import credentials, handles, revoked_sessions

MAX_ROWS: Final = 10_000
MAX_PER_PROVIDER: Final = 32

Statement = TypeVar("Statement", Select[Any], Update, Delete)


class CredentialStore:
    """Rows in and out; each change stands in one transaction with its audit entry."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    async def create(self, stored: SealedCredential, entry: Entry) -> None:
        async with self._database.write() as write:
            taken = select(credentials.c.id).where(
                credentials.c.organization == stored.organization, credentials.c.provider == stored.provider
            )
            if len(await write.rows(taken)) >= MAX_PER_PROVIDER:
                raise Conflict(f"there are {MAX_PER_PROVIDER} credentials of this provider already")
            await write.run(insert(credentials).values(**_columns(stored)))
            await self._finish(write, entry)

    async def replace(self, old: SealedCredential, new: SealedCredential, entry: Entry) -> None:
        """Write `new` over `old`, or raise Conflict when somebody else was faster."""
        async with self._database.write() as write:
            statement = _only(update(credentials), old.organization, old.id).where(credentials.c.version == old.version)
            if await write.run(statement.values(**_columns(new))) != 1:
                raise Conflict("somebody else changed this credential in the meantime")
            await self._finish(write, entry)

    async def delete(self, organization: str, credential: str, entry: Entry) -> SealedCredential:
        """Delete and return what was there, or raise NotFound."""
        async with self._database.write() as write:
            found = await write.rows(_only(select(credentials), organization, credential))
            if not found:
                raise NotFound("no such credential in this organization")
            await write.run(_only(delete(credentials), organization, credential))
            await self._finish(write, entry)
            return _stored(found[0])

    async def erase(self, organization: str, entry: Entry) -> dict[str, int]:
        """Delete all that one organization has here; the audit log stays, its chain needs it."""
        gone: dict[str, int] = {}
        async with self._database.write() as write:
            for table in (credentials, handles, revoked_sessions):
                gone[table.name] = await write.run(delete(table).where(table.c.organization == organization))
            told = Entry(entry.at, entry.actor, entry.action, entry.outcome, organization, detail=gone)
            await write.changed(handles=True)
            await self._finish(write, told)
        return gone

    async def get(self, organization: str, credential: str) -> SealedCredential:
        """Return one row, or raise NotFound."""
        found: list[Row[Any]] = []
        if is_id(credential) and is_organization(organization):
            found = await self._database.rows(_only(select(credentials), organization, credential))
        if not found:
            raise NotFound("no such credential in this organization")
        return _stored(found[0])

    async def anywhere(self, credential: str) -> SealedCredential:
        """Return one row of whatever organization, or raise NotFound: for tokens of all organizations."""
        query = select(credentials).where(credentials.c.id == credential)
        found = await self._database.rows(query) if is_id(credential) else []
        if not found:
            raise NotFound("no such credential")
        return _stored(found[0])

    async def of(self, organization: str, provider: str) -> list[SealedCredential]:
        """Return an organization's credentials of one provider, the newest first."""
        query = (
            select(credentials)
            .where(credentials.c.organization == organization, credentials.c.provider == provider)
            .order_by(credentials.c.created_at.desc(), credentials.c.id)
            .limit(MAX_PER_PROVIDER)
        )
        return [_stored(row) for row in await self._database.rows(query)]

    async def list(self, organization: str) -> Sequence[SealedCredential]:
        """Return one organization's rows."""
        return await self._rows(_ordered().where(credentials.c.organization == organization))

    async def every(self) -> Sequence[SealedCredential]:
        """Return the rows of all organizations: for the process itself, and for tokens of all."""
        return await self._rows(_ordered())

    async def _rows(self, query: Select[Any]) -> Sequence[SealedCredential]:
        return [_stored(row) for row in await self._database.rows(query.limit(MAX_ROWS))]

    async def _finish(self, write: Write, entry: Entry) -> None:
        await write.changed(credentials=True)
        await self._audit.append(write, entry)


def _ordered() -> Select[Any]:
    return select(credentials).order_by(
        credentials.c.organization, credentials.c.provider, credentials.c.created_at.desc(), credentials.c.id
    )


def _only(statement: Statement, organization: str, credential: str) -> Statement:
    return statement.where(credentials.c.organization == organization, credentials.c.id == credential)


def _columns(stored: SealedCredential) -> dict[str, Any]:
    return {**asdict(stored), "hosts": json.dumps(stored.hosts)}


def _stored(row: Row[Any]) -> SealedCredential:
    columns: dict[str, Any] = row._asdict()  # SQLAlchemy's public name
    try:
        columns["hosts"] = tuple(str(host) for host in json.loads(columns["hosts"]))
    except (ValueError, TypeError):
        columns["hosts"] = ()  # somebody wrote into the table; the sealed hosts are the ones that count
    return SealedCredential(**columns)
