"""Verification of the audit log: what is proven of it, what is not, and every fault with its entry.

Four statements are proven by the log's own keys, against a writer of the database. The fifth,
that the database was not put back whole to an earlier day, needs anchors which that writer cannot reach.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from sidecar.errors import ConfigError
from sidecar.vault.audit import CONTINUED, PRUNED, AuditLog, chain_hash
from sidecar.vault.audit_seal import BASE, HEAD, MAX_ANCHORS, NOTHING, AuditKeys, Place, Seal
from sidecar.vault.database import Row

MAX_FAULTS: Final = 100
TRIES: Final = 3
TURN: Final = 50
"""Entries that are checked before others get their turn of the loop."""


class Statement(Enum):
    """The statements that a verification can prove, as the report prints them."""

    CHAIN = "no entry was changed, moved or taken out between two others"
    AUTHORS = "every entry was written by a holder of the key"
    BEGINNING = "nothing is missing at the beginning but what retention removed"
    END = "nothing was cut off or added at the end"
    PRESENT = "the database was not put back to an earlier day"


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a statement is proven; `why` not, or up to where."""

    statement: Statement
    proven: bool
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the statement as `sidecar audit verify --json` prints it."""
        return {
            "statement": self.statement.name.lower(),
            "says": self.statement.value,
            "proven": self.proven,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found. `retired`: entries under a key that is gone, and was declared so."""

    entries: int
    retired: int
    head: Seal
    faults: tuple[str, ...]
    proofs: tuple[Proof, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as `sidecar audit verify --json` and the admin API print it."""
        return {
            "whole": not self.faults,
            "entries": self.entries,
            "unkeyed": self.retired,
            "anchor": str(self.head),
            "statements": [proof.as_json() for proof in self.proofs],
            "faults": list(self.faults),
        }


async def verify(
    log: AuditLog,
    *,
    anchors: Iterable[Seal | Place] = (),
    retired: Collection[str] = (),
) -> Verdict:
    """Check the whole log. `retired`: ids (hex) of master keys that were given up and are not here.

    Raises ConfigError for too many anchors, StoreUnavailable when the database does not answer.
    """
    places = _Anchors.of(anchors)
    for _ in range(TRIES):
        head, base = await log.ends()
        walk = _Walk(log.keys, frozenset(retired), places, base, head, base.place)
        async for row in log.rows(through=head.place.seq):
            walk.step(row)
            if walk.entries % TURN == 0:
                await asyncio.sleep(0)
        walk.end(await log.outside())
        # Retention that ran meanwhile took entries away while they were read: read again.
        if (await log.ends())[1] == base:
            break
    return walk.verdict()


@dataclass(frozen=True, slots=True)
class _Anchors:
    """Anchors by the number of their entry."""

    by_seq: dict[int, list[Seal | Place]]

    @classmethod
    def of(cls, anchors: Iterable[Seal | Place]) -> _Anchors:
        by_seq: dict[int, list[Seal | Place]] = {}
        for anchor in anchors:
            known = by_seq.setdefault(_place(anchor).seq, [])
            if anchor not in known:
                known.append(anchor)
            if len(by_seq) > MAX_ANCHORS or len(known) > MAX_FAULTS:
                raise ConfigError(f"more than {MAX_ANCHORS} anchors; give the newest ones only")
        return cls(by_seq)


@dataclass(slots=True)
class _Walk:
    """The state of one verification: where the chain is, and what was wrong so far."""

    keys: AuditKeys
    retired: frozenset[str]
    anchors: _Anchors
    base: Seal
    head: Seal
    at: Place
    entries: int = 0
    under_retired: int = 0
    authenticated: int = 0  # entries under a known key
    sealed: int = 0  # those of them in format 2
    pruned: Place | None = None  # as the newest entry of retention names the base
    met: list[Seal | Place] = field(default_factory=list)  # anchors that fit, the oldest first
    unknown: tuple[int, int, str] | None = None  # a run of entries under one unknown key
    faults: list[tuple[Statement, str]] = field(default_factory=list)
    open: dict[Statement, str] = field(default_factory=dict)  # what is not proven although nothing is wrong

    def __post_init__(self) -> None:
        self._meet()

    def step(self, row: Row) -> None:
        expected = self.at.seq + 1
        if row["seq"] != expected:
            self._fault(Statement.CHAIN, f"entries {expected} to {row['seq'] - 1}: missing")
        if row["previous"] != self.at.hash:
            self._fault(Statement.CHAIN, f"entry {row['seq']}: does not follow the entry before it")
        if chain_hash(row) != row["hash"]:
            self._fault(Statement.CHAIN, f"entry {row['seq']}: changed")
        if self.keys.knows(row["key_id"]):
            self._authenticate(row)
        else:
            self._note_unknown(row)
        if row["action"] == PRUNED:
            self._note_pruning(row)
        self.at = Place(row["seq"], row["hash"])
        self.entries += 1
        self._meet()

    def end(self, outside: int) -> None:
        self._end_of_unknown()
        self._judge_base()
        self._judge_head(self.head)
        if outside and not self.faults:
            self._fault(Statement.END, f"{outside} entries are beyond the ends of the log")
        met = frozenset(self.met)
        for seq, anchors in self.anchors.by_seq.items():
            for anchor in anchors:
                self._judge_anchor(seq, anchor, met)

    def verdict(self) -> Verdict:
        if self.under_retired:
            self.open[Statement.AUTHORS] = (
                f"{self.under_retired} entries are under a retired key: who wrote them can no longer be proven"
            )
        faults = tuple(text for _, text in self.faults[:MAX_FAULTS])
        proofs = tuple(self._proof(statement) for statement in Statement)
        return Verdict(self.entries, self.under_retired, self.head, faults, proofs)

    # --- entries

    def _authenticate(self, row: Row) -> None:
        self._end_of_unknown()
        seq, made = row["seq"], self.keys.entry_format(row["key_id"], row["hash"], row["mac"])
        if made == 0:
            self._fault(Statement.AUTHORS, f"entry {seq}: not written by a holder of the key")
            return
        if made == 1 and self.sealed:
            self._fault(Statement.AUTHORS, f"entry {seq}: in the old format, after entries in the new one")
        if row["action"] == CONTINUED:
            self._judge_continuation(seq, _facts(row))
        self.authenticated += 1
        self.sealed += made == 2

    def _judge_continuation(self, seq: int, facts: dict[str, Any]) -> None:
        why, key_id = facts.get("why"), str(facts.get("key_id"))
        if why == "unsealed" and not self.sealed:
            return  # the first entry after the log of a former version
        known = key_id in self.retired or self.keys.knows(key_id)
        if why == "unknown key" and known and not self.authenticated:
            return  # the first entry under a new key
        if why == "unknown key" and self.keys.knows(key_id):
            return  # a former key came back, with it the MAC of every entry
        self._fault(Statement.END, f"entry {seq}: the log went on from an end that was not authentic ({why})")

    def _note_unknown(self, row: Row) -> None:
        seq, key_id = row["seq"], row["key_id"]
        if key_id in self.retired and not self.authenticated:
            self.under_retired += 1
            return
        if self.unknown is not None and self.unknown[2] == key_id:
            self.unknown = (self.unknown[0], seq, key_id)
            return
        self._end_of_unknown()
        self.unknown = (seq, seq, key_id)

    def _end_of_unknown(self) -> None:
        if self.unknown is not None:
            first, last, key_id = self.unknown
            self.unknown = None
            named = f"entry {first}" if first == last else f"entries {first} to {last}"
            why = "retired before" if key_id in self.retired else "not here"
            self._fault(Statement.AUTHORS, f"{named}: under the key {key_id[:16]!a}, which is {why}")

    def _note_pruning(self, row: Row) -> None:
        facts = _facts(row)
        if isinstance(facts.get("through"), int):
            # Entries of the former version do not name the hash.
            self.pruned = Place(facts["through"], str(facts.get("hash", self.base.place.hash)))

    # --- ends

    def _judge_base(self) -> None:
        base = self.base
        if base == NOTHING:
            return
        self._judge_seal(Statement.BEGINNING, BASE, base, "the base left by retention")
        if base.place.seq and self.pruned != base.place:
            self._fault(Statement.BEGINNING, f"no entry says that retention removed what was before {base.place.seq}")

    def _judge_head(self, head: Seal) -> None:
        if self.at != head.place:
            self._fault(
                Statement.END,
                f"the end is missing: the log went on to entry {head.place.seq}, {self.at.seq} is the last",
            )
        elif head.entries != self.entries and not self.faults:
            self._fault(Statement.END, f"the end counts {head.entries} entries, there are {self.entries}")
        if head != NOTHING:
            self._judge_seal(Statement.END, HEAD, head, "the end of the log")

    def _judge_seal(self, statement: Statement, label: str, seal: Seal, name: str) -> None:
        if self.keys.holds(label, seal):
            return
        if not seal.key_id and not self.sealed:
            self.open[statement] = f"{name} was written by a former version, which did not seal it"
        elif seal.key_id in self.retired and not self.authenticated:
            self.open[statement] = f"{name} is sealed under a retired key"
        elif not seal.key_id:
            self._fault(statement, f"{name} is not sealed")
        elif not self.keys.knows(seal.key_id):
            self._fault(statement, f"{name} is sealed under the key {seal.key_id!a}, which is not here")
        else:
            self._fault(statement, f"{name} is not authentic")

    # --- anchors

    def _meet(self) -> None:
        for anchor in self.anchors.by_seq.get(self.at.seq, ()):
            if _place(anchor) == self.at:
                self.met.append(anchor)

    def _judge_anchor(self, seq: int, anchor: Seal | Place, met: Collection[Seal | Place]) -> None:
        if isinstance(anchor, Seal) and self.keys.knows(anchor.key_id) and not self.keys.holds(HEAD, anchor):
            self._fault(Statement.PRESENT, f"the anchor at entry {seq} is not authentic")
        elif seq > self.at.seq:
            self._fault(Statement.PRESENT, f"the log was put back: it had gone on to entry {seq}{_when(anchor)}")
        elif seq >= self.base.place.seq and anchor not in met:
            self._fault(Statement.PRESENT, f"the anchor at entry {seq} is not in this log")

    def _proof(self, statement: Statement) -> Proof:
        fault = next((text for about, text in self.faults if about is statement), "")
        if fault:
            return Proof(statement, False, fault)
        if statement is Statement.PRESENT:
            if not self.met:
                return Proof(statement, False, "there is no anchor to compare it with")
            newest = self.met[-1]
            return Proof(statement, True, f"through entry {_place(newest).seq}{_when(newest)}")
        return Proof(statement, statement not in self.open, self.open.get(statement, ""))

    def _fault(self, statement: Statement, text: str) -> None:
        if len(self.faults) <= MAX_FAULTS:
            self.faults.append((statement, text))


def _place(anchor: Seal | Place) -> Place:
    return anchor.place if isinstance(anchor, Seal) else anchor


def _when(anchor: Seal | Place) -> str:
    if not isinstance(anchor, Seal):
        return ""
    return f" ({datetime.fromtimestamp(anchor.at / 1000, UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')})"


def _facts(row: Row) -> dict[str, Any]:
    try:
        facts = json.loads(row["detail"])
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
