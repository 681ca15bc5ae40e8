"""Phantom keys: what is in a backend where a key would be. Only our egress listener takes them.

Two kinds. A *stored* handle (`phk_` and 43 characters: 256 random bits) is made by an operator and
kept as its SHA-256; a fast hash is right for what cannot be guessed. A *signed* one (`phk_1.…`,
signed.py) is minted per request, lives for minutes and is never stored; it is revoked by its session.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sidecar.clock import Clock
from sidecar.secret import Secret
from sidecar.vault import models
from sidecar.vault.audit import Facts
from sidecar.vault.audit_recorder import AuditRecorder
from sidecar.vault.database import Database, Row, Write
from sidecar.vault.errors import Conflict, HandleRefused, Invalid, NotFound
from sidecar.vault.models import Actor, Grant, Handle
from sidecar.vault.signed_handle import PREFIX, Signer
from sidecar.vocabulary import Event, Outcome

SIGNED_SECONDS: Final = 600
SESSION_REVOKED_SECONDS: Final = 86_400
FRESH_SECONDS: Final = 30.0  # how long an open handle goes on while the database does not answer
MAX_CACHED: Final = 10_000
MAX_PER_ORGANIZATION: Final = 1000
MAX_REVOKED: Final = 100_000
RETRY_SECONDS: Final = 1.0
READ_AT_ONCE: Final = 500
ONE: Final = "organization = ? AND id = ?"
_STORED: Final = re.compile(r"phk_[A-Za-z0-9_-]{43}")
_SESSION: Final = re.compile(r"[A-Za-z0-9._:-]{0,128}")


@dataclass(frozen=True, slots=True)
class _Known:
    """A stored handle as last read; `grant` None: there is no such handle, or it is revoked."""

    grant: Grant | None
    cause: str
    until: float


class Handles:
    """Phantom keys: create, list, revoke, and resolve one."""

    def __init__(
        self, database: Database, keys: Mapping[bytes, bytes], providers: Any, journal: AuditRecorder, clock: Clock
    ) -> None:
        self._database = database
        self._signer = Signer(keys)
        self._providers = providers
        self._journal = journal
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._revoked: dict[tuple[str, str], int] = {}
        self._fresh_until = 0.0
        self._generation = 0

    # --- use

    def mint(self, organization: str, provider: str, session: str, now: float, ttl: float = SIGNED_SECONDS) -> str:
        """Return a fresh signed handle: no I/O. `session` is the session's key (a hash), or empty."""
        return self._signer.mint(organization, provider, session, int(now + ttl))

    def check(self, token: str, provider: str, now: float) -> Grant | None:
        """Return the grant when it is known without the database, None when `resolve` has to be awaited.

        Raises HandleRefused when it is certain that the handle is not valid.
        """
        if token.startswith(PREFIX):
            if now >= self._fresh_until:
                return None
            grant = self._signer.read(token)
            return self._valid(grant, provider, now)
        known = self._known.get(_digest(token)) if now < self._fresh_until else None
        if known is None or now >= known.until:
            return None
        if known.grant is None:
            raise HandleRefused(known.cause)
        return self._valid(known.grant, provider, now)

    async def resolve(self, token: str, provider: str, now: float) -> Grant:
        """Return the grant of a valid handle, or raise HandleRefused (or StoreUnavailable)."""
        quick = self.check(token, provider, now)
        if quick is not None:
            return quick
        if token.startswith(PREFIX):
            await self.refresh()
            return self._valid(self._signer.read(token), provider, now)
        if not _STORED.fullmatch(token):
            raise HandleRefused("unknown")
        digest, generation = _digest(token), self._generation
        rows = await self._database.rows("SELECT * FROM handles WHERE digest = ?", digest)
        known = _known(rows[0]) if rows else _Known(None, "unknown", now + RETRY_SECONDS)
        if generation != self._generation:
            return await self.resolve(token, provider, now)  # it may have been revoked while it was read
        self._keep(digest, known)
        if known.grant is None:
            raise HandleRefused(known.cause)
        return self._valid(known.grant, provider, now)

    # --- operations

    async def create(
        self,
        actor: Actor,
        organization: str,
        provider: str,
        *,
        expires_at: float,
        session: str = "",
        name: str = "",
    ) -> tuple[Secret, Handle]:
        """Make a stored handle; its text is returned once, here, and cannot be had again."""
        async with self._journal.refusals(actor, "handle.create", organization, provider):
            now = self._clock.now()
            organization = models.organization(organization)
            self._providers.catalogue.get(provider)
            if not _SESSION.fullmatch(session):
                raise Invalid("a session is named by its key: letters, digits and . _ : -")
            ends = models.expiry(expires_at, now)
            name = models.credential_name(name) if name else ""
            token = "phk_" + base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
            handle = Handle(
                f"hdl_{os.urandom(10).hex()}",
                organization,
                provider,
                session,
                name,
                int(now * 1000) / 1000,
                ends or 0,
                None,
            )
            async with self._database.write() as write:
                await self._make_room(write, organization, int(now))
                columns = {**asdict(handle), "created_at": int(now * 1000), "digest": _digest(token)}
                await write.insert("handles", columns)
                await self._finish(write, actor, "handle.create", handle)
        self._tell(actor, handle, "create")
        return Secret(token), handle

    async def list(self, organization: str | None) -> list[Handle]:
        """Return an organization's stored handles, the newest first; None: those of all organizations."""
        only, values = ("", []) if organization is None else (" WHERE organization = ?", [organization])
        if organization is not None:
            models.organization(organization)
        query = f"SELECT * FROM handles{only} ORDER BY created_at DESC, id LIMIT {MAX_CACHED}"
        return [_handle(row) for row in await self._database.rows(query, *values)]

    async def revoke(self, actor: Actor, organization: str, handle: str) -> Handle:
        """Revoke a stored handle: refused here at once, on other replicas within a second."""
        async with self._journal.refusals(actor, "handle.revoke", organization, handle):
            if not (models.is_id(handle) and models.is_organization(organization)):
                raise NotFound("no such handle in this organization")
            async with self._database.write() as write:
                at = int(self._clock.now() * 1000)
                query = f"UPDATE handles SET revoked_at = ? WHERE {ONE} AND revoked_at IS NULL"
                await write.run(query, at, organization, handle)
                found = await write.rows(f"SELECT * FROM handles WHERE {ONE}", organization, handle)
                if not found:
                    raise NotFound("no such handle in this organization")
                revoked = _handle(found[0])
                await self._finish(write, actor, "handle.revoke", revoked)
        self._take(found)
        self._tell(actor, revoked, "revoke")
        return revoked

    async def revoke_session(
        self, actor: Actor, organization: str, session: str, *, seconds: float = SESSION_REVOKED_SECONDS
    ) -> None:
        """Refuse every handle of a session, signed ones too, for as long as the session could last."""
        await self.revoke_sessions(actor, organization, [session], seconds=seconds)

    async def revoke_sessions(
        self, actor: Actor, organization: str, sessions: Sequence[str], *, seconds: float = SESSION_REVOKED_SECONDS
    ) -> None:
        """Refuse every handle of some sessions of an organization, in one transaction with one audit entry."""
        async with self._journal.refusals(actor, "handle.revoke_session", organization, ""):
            models.organization(organization)
            if not all(session and _SESSION.fullmatch(session) for session in sessions):
                raise Invalid("a session is named by its key: letters, digits and . _ : -")
            now = self._clock.now()
            until = int(now + seconds)
            async with self._database.write() as write:
                await write.run("DELETE FROM revoked_sessions WHERE until <= ?", int(now))
                for session in sessions:
                    await _revoke(write, organization, session, until, int(now * 1000))
                facts: Facts = {"session": sessions[0][:8]} if len(sessions) == 1 else {"sessions": len(sessions)}
                entry = self._journal.entry(actor, "handle.revoke_session", organization, "", facts)
                await write.changed(handles=True)
                await self._journal.append(write, entry)
            self._revoked |= {(organization, session): until for session in sessions}

    async def which_revoked(self, ids: Collection[str]) -> set[str]:
        """Return which of these stored handles are revoked."""
        found: set[str] = set()
        wanted = list(ids)
        for start in range(0, len(wanted), READ_AT_ONCE):
            some = wanted[start : start + READ_AT_ONCE]
            marks = ", ".join("?" * len(some))
            query = f"SELECT id FROM handles WHERE revoked_at IS NOT NULL AND id IN ({marks})"
            found |= {row["id"] for row in await self._database.rows(query, *some)}
        return found

    def is_session_revoked(self, organization: str, session: str, now: float) -> bool:
        """Return whether all handles of a session are revoked, as of the last look at the database."""
        return now < self._revoked.get((organization, session), 0)

    # --- following the database

    async def refresh(self) -> None:
        """Read which sessions are revoked, and again each stored handle that is known.

        Nothing that is known is forgotten before it was read: the database may go away at any moment.
        """
        at = self._clock.now()
        query = f"SELECT * FROM revoked_sessions WHERE until > ? LIMIT {MAX_REVOKED}"
        rows = await self._database.rows(query, int(at))
        self._generation += 1
        known = list(self._known)
        found: list[Row] = []
        for start in range(0, len(known), READ_AT_ONCE):
            some = known[start : start + READ_AT_ONCE]
            marks = ", ".join("?" * len(some))
            found += await self._database.rows(f"SELECT * FROM handles WHERE digest IN ({marks})", *some)
        self._revoked = {(row["organization"], row["session"]): row["until"] for row in rows}
        there = {row["digest"] for row in found}
        for digest in known:
            if digest not in there:
                self._known.pop(digest, None)
        self._take(found)
        self.confirm(at)

    def confirm(self, at: float) -> None:
        """The database was reached at this time and nothing has changed."""
        self._fresh_until = at + FRESH_SECONDS

    def _take(self, rows: Sequence[Row]) -> None:
        """Take over what was read, or written, of stored handles that are known here."""
        self._generation += 1
        for row in rows:
            if row["digest"] in self._known:
                self._known[row["digest"]] = _known(row)

    # --- inside

    def _valid(self, grant: Grant, provider: str, now: float) -> Grant:
        if now >= grant.expires_at:
            raise HandleRefused("expired")
        if grant.provider != provider:
            raise HandleRefused("provider")
        if grant.session and now < self._revoked.get((grant.organization, grant.session), 0):
            raise HandleRefused("revoked")
        return grant

    def _keep(self, digest: str, known: _Known) -> None:
        if len(self._known) >= MAX_CACHED:
            del self._known[next(iter(self._known))]
        self._known[digest] = known

    async def _make_room(self, write: Write, organization: str, now: int) -> None:
        await write.run("DELETE FROM handles WHERE organization = ? AND expires_at <= ?", organization, now)
        [living] = await write.rows("SELECT count(*) AS number FROM handles WHERE organization = ?", organization)
        if living["number"] >= MAX_PER_ORGANIZATION:
            raise Conflict(f"this organization has {MAX_PER_ORGANIZATION} handles; revoked ones go when they expire")

    async def _finish(self, write: Write, actor: Actor, action: str, handle: Handle) -> None:
        facts: Facts = {"provider": handle.provider, "name": handle.name, "expires_at": handle.expires_at}
        await write.changed(handles=True)
        await self._journal.append(write, self._journal.entry(actor, action, handle.organization, handle.id, facts))

    def _tell(self, actor: Actor, handle: Handle, action: str) -> None:
        facts = {"action": f"handle.{action}", "handle": handle.id, "provider": handle.provider}
        self._journal.tell(actor, Event.ADMIN_ACTION, Outcome.ALLOWED, handle.organization, facts)


async def _revoke(write: Write, organization: str, session: str, until: int, at: int) -> None:
    """Write down that a session's handles are refused until `until` (epoch seconds); `at` is in milliseconds."""
    one = "organization = ? AND session = ?"
    await write.run(f"DELETE FROM revoked_sessions WHERE {one}", organization, session)
    await write.insert("revoked_sessions", {"organization": organization, "session": session, "until": until})
    update = f"UPDATE handles SET revoked_at = ? WHERE {one} AND revoked_at IS NULL"
    await write.run(update, at, organization, session)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _handle(row: Row) -> Handle:
    revoked = row["revoked_at"]
    return Handle(
        row["id"],
        row["organization"],
        row["provider"],
        row["session"],
        row["name"],
        row["created_at"] / 1000,
        row["expires_at"],
        revoked / 1000 if revoked is not None else None,
    )


def _known(row: Row) -> _Known:
    if row["revoked_at"] is not None:
        return _Known(None, "revoked", float(row["expires_at"]))
    grant = Grant(row["organization"], row["provider"], row["session"], row["expires_at"], row["id"])
    return _Known(grant, "", float(row["expires_at"]))
