"""The audit log: append-only, each entry chained to the one before, each authenticated.

`hash` is SHA-256 over the previous hash and the entry, so the chain can be checked without a key; `mac` is
HMAC over the hash with a key that is not in the database. Both ends of the chain are sealed with
the same key (audit_seal.py), and retention leaves an entry that names the end it made. So a writer
of the database without the key can neither add, change nor remove an entry undetected. A database that
was put back whole to an earlier day is found only by anchors kept elsewhere (audit_verify.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sidecar.vault.audit_seal import BASE, FORMAT, HEAD, NOTHING, AuditKeys, Place, Seal
from sidecar.vault.database import Database, Row, Write
from sidecar.vault.models import SIDECAR, Actor

PAGE: Final = 500
MAX_DETAIL: Final = 4096
PRUNED: Final = "audit.prune"
CONTINUED: Final = "audit.continued"
"""The action of an entry which says that the end before it could not be verified when the log went on."""
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


Facts: TypeAlias = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation that was done or refused. `detail` contains names and numbers, never a secret."""

    at: float
    actor: Actor
    action: str
    outcome: str
    organization: str = ""
    subject: str = ""
    detail: Facts = field(default_factory=dict)


class AuditLog:
    """The log in one database. `keys` are the audit subkeys by master id, the current one first."""

    def __init__(self, database: Database, keys: Mapping[bytes, bytes]) -> None:
        self._database = database
        self.keys = AuditKeys(keys)

    async def append(self, write: Write, entry: Entry) -> None:
        """Add an entry to the write transaction of the change that it records."""
        head, base = _ends(write.state)
        why = self._doubt(head, base)
        if why:
            # What was not verified is sealed with an entry that says so, which verification reports.
            if why == "unsealed":
                sealed = self.keys.seal(BASE, base.place, base.entries, int(entry.at * 1000))
                await write.set(**sealed.columns(BASE))
            facts: Facts = {"why": why, "after": head.place.seq, "key_id": head.key_id}
            await self._append(write, Entry(entry.at, SIDECAR, CONTINUED, "done", detail=facts))
        await self._append(write, entry)

    async def begin(self, at: float) -> None:
        """Seal the end of a log that a former version left unsealed."""
        if self._doubt(*await self.ends()):
            await self.record([Entry(at, SIDECAR, "audit.begin", "done")])

    async def record(self, entries: Sequence[Entry]) -> None:
        """Append entries that belong to no other change, in one transaction."""
        async with self._database.write() as write:
            for entry in entries:
                await self.append(write, entry)

    async def head(self) -> Seal:
        """Return the sealed end of the log: an anchor, to be kept where the database's writer cannot reach."""
        return (await self.ends())[0]

    async def prune(self, before: float, entry: Entry) -> int:
        """Remove the entries older than `before` (epoch seconds) from the old end, and seal the new one.

        `entry` records it and is appended. Returns how many were removed. The youngest entry always stays.
        """
        async with self._database.write() as write:
            young = await write.rows("SELECT seq FROM audit WHERE at >= ? ORDER BY seq LIMIT 1", int(before * 1000))
            first = young[0]["seq"] if young else write.state["head_seq"]
            last = await write.rows("SELECT seq, hash FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT 1", first)
            if not last:
                return 0
            base = Place(last[0]["seq"], last[0]["hash"])
            gone = await write.run("DELETE FROM audit WHERE seq <= ?", base.seq)
            await write.set(**self.keys.seal(BASE, base, gone, int(entry.at * 1000)).columns(BASE))
            detail = {**entry.detail, "removed": gone, "through": base.seq, "hash": base.hash}
            await self.append(write, Entry(entry.at, entry.actor, PRUNED, entry.outcome, detail=detail))
            return gone

    async def ends(self) -> tuple[Seal, Seal]:
        """Return the head and the base."""
        return _ends(await self._database.state())

    async def outside(self) -> int:
        """Return how many rows are beyond the ends of the log: the program never leaves any there."""
        [found] = await self._database.rows(
            "SELECT count(*) AS number FROM audit, state WHERE seq > head_seq OR seq <= base_seq"
        )
        return int(found["number"])

    async def rows(
        self,
        *,
        after: int = 0,
        through: int | None = None,
        organization: str | None = None,
        actions: Sequence[str] = (),
    ) -> AsyncIterator[Row]:
        """Yield rows in order, a page at a time; with `actions` those of these actions only."""
        where, values = ["seq > ?"], list[Any]()
        if through is not None:
            where.append("seq <= ?")
            values.append(through)
        if organization is not None:
            where.append("organization = ?")
            values.append(organization)
        if actions:
            where.append(f"action IN ({', '.join('?' * len(actions))})")
            values += list(actions)
        query = f"SELECT * FROM audit WHERE {' AND '.join(where)} ORDER BY seq LIMIT {PAGE}"
        while True:
            page = await self._database.rows(query, after, *values)
            for row in page:
                yield row
            if len(page) < PAGE:
                return
            after = page[-1]["seq"]

    async def recent(self, organization: str | None, *, limit: int = 100, before: int | None = None) -> list[Row]:
        """Return the newest entries first: of one organization, or of all (None)."""
        where, values = list[str](), list[Any]()
        if organization is not None:
            where.append("organization = ?")
            values.append(organization)
        if before is not None:
            where.append("seq < ?")
            values.append(before)
        only = f" WHERE {' AND '.join(where)}" if where else ""
        limit = max(1, min(limit, PAGE))
        return await self._database.rows(
            f"SELECT * FROM audit{only} ORDER BY seq DESC LIMIT {limit}",
            *values,
        )

    def is_authentic(self, row: Row) -> bool:
        """Return whether an entry is as a holder of a known key wrote it."""
        known = self.keys.knows(row["key_id"]) and chain_hash(row) == row["hash"]
        return known and self.keys.entry_format(row["key_id"], row["hash"], row["mac"]) > 0

    def _doubt(self, head: Seal, base: Seal) -> str:
        """Return why the end of the log is not known to be authentic; an empty text when it is."""
        if self.keys.holds(HEAD, head):
            return ""
        if not head.key_id:
            return "" if head.place == base.place == NOTHING.place else "unsealed"
        return "forged" if self.keys.knows(head.key_id) else "unknown key"

    async def _append(self, write: Write, entry: Entry) -> None:
        head, base = _ends(write.state)
        columns: Row = {
            "seq": head.place.seq + 1,
            "at": int(entry.at * 1000),
            "actor": _plain(entry.actor.name, 200),
            "address": _plain(entry.actor.address, 64),
            "request_id": _plain(entry.actor.request_id, 128),
            "organization": _plain(entry.organization, 128),
            "action": entry.action,
            "outcome": entry.outcome,
            "subject": _plain(entry.subject, 200),
            "detail": _detail(entry.detail),
            "previous": head.place.hash,
        }
        columns["hash"] = chain_hash(columns)
        columns["key_id"] = self.keys.current
        columns["mac"] = self.keys.entry_mac(columns["hash"])
        columns["format"] = FORMAT
        await write.insert("audit", columns)
        end = Place(columns["seq"], columns["hash"])
        await write.set(**self.keys.seal(HEAD, end, end.seq - base.place.seq, columns["at"]).columns(HEAD))


def chain_hash(columns: Mapping[str, Any]) -> str:
    """Return the hash of an entry: SHA-256 over a JSON array of its columns, the previous hash first."""
    return hashlib.sha256(json.dumps([columns[name] for name in HASHED], separators=(",", ":")).encode()).hexdigest()


def as_json(row: Row) -> dict[str, Any]:
    """Return an entry as exports and the admin API show it; what was changed to be no JSON is shown as a text."""
    try:
        detail = json.loads(row["detail"])
    except ValueError:
        detail = {"unreadable": row["detail"]}
    return {**row, "detail": detail}


def _ends(state: Row) -> tuple[Seal, Seal]:
    return Seal.of(HEAD, state), Seal.of(BASE, state)


def _detail(detail: Facts) -> str:
    text = json.dumps(dict(detail), sort_keys=True)
    return text if len(text) <= MAX_DETAIL else json.dumps({"cut": len(text)})


def _plain(text: str, size: int) -> str:
    """Cut and clean what came from outside: a log entry is one line, and PostgreSQL stores no NUL."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:size])
