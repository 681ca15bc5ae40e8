"""The audit log: append-only, each entry chained to the one before, each authenticated.

`hash` is SHA-256 over the previous hash and the entry, so anybody can follow the chain; `mac` is
HMAC over the hash with a key that the database does not hold, so nobody who has only the database
can write a chain of their own. Retention cuts off the old end and keeps its last hash as the base.
The row `state` remembers the head. What no log can show by itself is that the whole database was
put back to an earlier day: keep the anchor that `verify` prints somewhere else and give it back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Row

from sidecar.vault.database import Database, Write
from sidecar.vault.models import Actor
from sidecar.vault.tables import audit, state

GENESIS: Final = "0" * 64
PAGE: Final = 500
MAX_DETAIL: Final = 4096
MAX_FAULTS: Final = 100
HASHED: Final = (
    "previous",
    "seq",
    "at",
    "actor",
    "address",
    "request_id",
    "organization",
    "action",
    "outcome",
    "subject",
    "detail",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done, or refused. `detail` holds names and numbers, never a secret."""

    at: float
    actor: Actor
    action: str
    outcome: str
    organization: str = ""
    subject: str = ""
    detail: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChainAnchor:
    """A place in the chain, to be kept outside of the database."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found. `unkeyed` entries were made under a master key that is gone:
    their place in the chain holds, who wrote them cannot be said.
    """

    entries: int
    unkeyed: int
    head: ChainAnchor
    faults: tuple[str, ...]


class AuditLog:
    """The log in one database. `keys` are the audit subkeys by master id, the current one first."""

    def __init__(self, database: Database, keys: Mapping[bytes, bytes]) -> None:
        self._database = database
        self._keys = {key_id.hex(): key for key_id, key in keys.items()}
        self._current = next(iter(self._keys))

    async def append(self, write: Write, entry: Entry) -> None:
        """Add an entry to the write transaction of the change that it tells of."""
        columns: dict[str, Any] = {
            "seq": write.head_seq + 1,
            "at": int(entry.at * 1000),
            "actor": _plain(entry.actor.name, 200),
            "address": _plain(entry.actor.address, 64),
            "request_id": _plain(entry.actor.request_id, 128),
            "organization": _plain(entry.organization, 128),
            "action": entry.action,
            "outcome": entry.outcome,
            "subject": _plain(entry.subject, 200),
            "detail": _detail(entry.detail),
            "previous": write.head_hash,
        }
        columns["hash"] = chain_hash(columns)
        columns["key_id"] = self._current
        columns["mac"] = self._mac(self._current, columns["hash"])
        await write.run(insert(audit).values(**columns))
        write.head_seq, write.head_hash = columns["seq"], columns["hash"]
        await write.run(update(state).values(head_seq=write.head_seq, head_hash=write.head_hash))

    async def record(self, entries: Sequence[Entry]) -> None:
        """Append entries that belong to no other change, in one transaction."""
        async with self._database.write() as write:
            for entry in entries:
                await self.append(write, entry)

    async def prune(self, before: float, entry: Entry) -> int:
        """Remove the entries older than `before` (epoch seconds) from the old end, keep the chain's base.

        `entry` tells of it and is appended. Returns how many went. A youngest entry always stays.
        """
        async with self._database.write() as write:
            young = select(audit.c.seq).where(audit.c.at >= int(before * 1000)).order_by(audit.c.seq).limit(1)
            found = await write.rows(young)
            first = found[0].seq if found else write.head_seq
            last = await write.rows(select(audit).where(audit.c.seq < first).order_by(audit.c.seq.desc()).limit(1))
            if not last:
                return 0
            base = last[0]
            gone = await write.run(delete(audit).where(audit.c.seq <= base.seq))
            values = {"base_seq": base.seq, "base_hash": base.hash, "base_key_id": base.key_id, "base_mac": base.mac}
            await write.run(update(state).values(**values))
            detail = {**entry.detail, "removed": gone, "through": base.seq}
            await self.append(write, Entry(entry.at, entry.actor, entry.action, entry.outcome, detail=detail))
            return gone

    async def verify(self, anchor: ChainAnchor | None = None) -> Verdict:
        """Walk the whole chain; every fault names the entry."""
        for _ in range(3):
            ends, verdict = await self._walk(anchor)
            # Retention that ran meanwhile took entries away from under the walk: go again.
            if (await self._database.state()).base_seq == ends.base_seq:
                break
        return verdict

    async def _walk(self, anchor: ChainAnchor | None) -> tuple[Row[Any], Verdict]:
        ends = await self._database.state()
        walk = _Walk(ChainAnchor(ends.base_seq, ends.base_hash), anchor)
        if ends.base_seq and self._forged(ends.base_key_id, ends.base_hash, ends.base_mac):
            walk.faults.append("the base left by retention is not authentic")
        async for row in self.rows(through=ends.head_seq):
            walk.step(row)
            known = row.key_id in self._keys
            walk.unkeyed += not known
            if known and self._forged(row.key_id, row.hash, row.mac):
                walk.faults.append(f"entry {row.seq}: not written by a holder of the key")
        walk.end(ChainAnchor(ends.head_seq, ends.head_hash))
        return ends, Verdict(walk.entries, walk.unkeyed, walk.at, tuple(walk.faults[:MAX_FAULTS]))

    async def rows(
        self, *, after: int = 0, through: int | None = None, organization: str | None = None
    ) -> AsyncIterator[Row[Any]]:
        """Yield rows in order, a page at a time."""
        while True:
            query = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(PAGE)
            if through is not None:
                query = query.where(audit.c.seq <= through)
            if organization is not None:
                query = query.where(audit.c.organization == organization)
            page = await self._database.rows(query)
            for row in page:
                yield row
            if len(page) < PAGE:
                return
            after = page[-1].seq

    async def recent(self, organization: str | None, *, limit: int = 100, before: int | None = None) -> list[Row[Any]]:
        """Return the newest entries first: of one organization, or of all (None)."""
        query = select(audit).order_by(audit.c.seq.desc()).limit(max(1, min(limit, PAGE)))
        if organization is not None:
            query = query.where(audit.c.organization == organization)
        if before is not None:
            query = query.where(audit.c.seq < before)
        return await self._database.rows(query)

    def _mac(self, key_id: str, digest: str) -> str:
        return hmac.digest(self._keys[key_id], digest.encode(), hashlib.sha256).hex()

    def _forged(self, key_id: str, digest: str, mac: str) -> bool:
        return key_id in self._keys and not hmac.compare_digest(self._mac(key_id, digest), mac)


@dataclass(slots=True)
class _Walk:
    """The state of one verification: where the chain is, and what was wrong so far."""

    at: ChainAnchor
    anchor: ChainAnchor | None
    entries: int = 0
    unkeyed: int = 0
    faults: list[str] = field(default_factory=list)
    anchored: bool = False

    def __post_init__(self) -> None:
        self._meet()

    def step(self, row: Row[Any]) -> None:
        expected = self.at.seq + 1
        if row.seq != expected:
            self.faults.append(f"entries {expected} to {row.seq - 1}: missing")
        if row.previous != self.at.hash:
            self.faults.append(f"entry {row.seq}: does not follow the entry before it")
        if chain_hash(row._asdict()) != row.hash:  # SQLAlchemy's public name
            self.faults.append(f"entry {row.seq}: changed")
        self.at = ChainAnchor(row.seq, row.hash)
        self.entries += 1
        self._meet()

    def end(self, head: ChainAnchor) -> None:
        if self.at != head:
            self.faults.append(f"the end is missing: the log went on to entry {head.seq}, {self.at.seq} is the last")
        if self.anchor is not None and not self.anchored:
            self.faults.append(f"the anchor at entry {self.anchor.seq} is not in this log")

    def _meet(self) -> None:
        if self.anchor is not None and self.at.seq == self.anchor.seq:
            self.anchored = hmac.compare_digest(self.at.hash, self.anchor.hash)


def chain_hash(columns: Mapping[Any, Any]) -> str:
    """Return the hash of an entry: SHA-256 over a JSON array of its columns, the previous hash first."""
    return hashlib.sha256(json.dumps([columns[name] for name in HASHED], separators=(",", ":")).encode()).hexdigest()


def as_json(row: Row[Any]) -> dict[str, Any]:
    """Return an entry as exports and the admin API show it."""
    shown: dict[str, Any] = row._asdict()  # SQLAlchemy's public name
    shown["detail"] = json.loads(shown["detail"])
    return shown


def _detail(detail: Mapping[str, str | int | float | bool | None]) -> str:
    text = json.dumps(dict(detail), sort_keys=True)
    return text if len(text) <= MAX_DETAIL else json.dumps({"cut": len(text)})


def _plain(text: str, size: int) -> str:
    """Cut and clean what came from outside: a log entry is one line, and PostgreSQL stores no NUL."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:size])
