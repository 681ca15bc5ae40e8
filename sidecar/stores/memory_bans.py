"""The bans of this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sidecar.stores.interfaces import Ban
from sidecar.stores.sliding_window import BUCKETS, SPAN, Row, add, empty, expire, width_of

EXPLAINED: Final = 10_000
"""Subjects of which is known what their strikes were; of more, the one whose last strike is oldest is forgotten."""
KINDS: Final = 16
REQUESTS: Final = 5
LONGEST_ID: Final = 64


def _ignore(_subject: str) -> None:
    """Drop the notice."""


class Strikes:
    """What the strikes of one subject were: how many of each kind, and the last requests."""

    __slots__ = ("at", "kinds", "requests")

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.requests: tuple[str, ...] = ()
        self.at = 0.0

    def add(self, kind: str, request: str, weight: int, now: float, within: float) -> None:
        """Add a strike; those before a pause longer than `within` seconds no longer count."""
        if now - self.at > within:
            self.kinds.clear()
            self.requests = ()
        self.at = now
        if kind in self.kinds or len(self.kinds) < KINDS:
            self.kinds[kind] = self.kinds.get(kind, 0) + weight
        if request:
            self.requests = (*self.requests[1 - REQUESTS :], request[:LONGEST_ID])

    def sorted(self) -> tuple[tuple[str, int], ...]:
        """Return the kinds with their numbers, the most frequent first."""
        return tuple(sorted(self.kinds.items(), key=lambda pair: (-pair[1], pair[0])))


class MemoryBanStore:
    """Ban a subject for `duration` when its refusals weigh `strikes` or more within `within` seconds.

    At most `max_subjects` are banned and as many are counted. When too many are counted, the one whose last
    strike is oldest is forgotten. When too many are banned, no ban is added until one ends; the rate
    limits still hold for those requests. `began` is told of each ban that begins here or on another replica.
    """

    def __init__(
        self, strikes: int = 20, within: float = 60.0, duration: float = 900.0, max_subjects: int = 100_000
    ) -> None:
        self._most = max_subjects
        self._bans: dict[str, Ban] = {}
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._why: OrderedDict[str, Strikes] = OrderedDict()
        self._full_until = 0.0
        self.began: Callable[[str], None] = _ignore
        self.rule(strikes, within, duration)

    def rule(self, strikes: int, within: float, duration: float) -> None:
        """Take over a reloaded policy's rule; strikes count on unless their window's length changes."""
        width = width_of(within)
        if width != getattr(self, "_width", width):
            self._rows.clear()
        self._strikes, self._width, self._duration = strikes, width, duration
        self.within = within

    def banned(self, subject: str, now: float) -> float:
        """Return until when the subject is banned, 0.0 if it is not."""
        ban = self._bans.get(subject)
        if ban is None:
            return 0.0
        if ban.until > now:
            return ban.until
        del self._bans[subject]
        return 0.0

    def strike(self, subject: str, weight: int, now: float, kind: str = "", request: str = "") -> Ban | None:
        """Count a refusal; return the ban when this strike made one."""
        if self.banned(subject, now):
            return None
        if kind:
            self._explain(subject).add(kind, request, weight, now, self.within)
        current = int(now // self._width)
        row = self._rows.get(subject)
        if row is None:
            row = self._rows[subject] = empty(current)
            self._shrink(current)
        elif row[1] < current - BUCKETS:
            expire(row, current)
        if add(row, current, weight):
            self._rows.move_to_end(subject)
        return self.judge(subject, row[0], now)

    def judge(self, subject: str, strikes: int, now: float) -> Ban | None:
        """Ban a subject that has that many strikes and is not banned yet; return the ban."""
        if strikes < self._strikes or self.banned(subject, now):
            return None
        made = self._explained(Ban(subject, now + self._duration, "strikes", strikes))
        return made if self.learn(made, now) else None

    def learn(self, ban: Ban, now: float) -> bool:
        """Store a ban; return whether there was room for it."""
        self._rows.pop(ban.subject, None)
        if ban.subject not in self._bans and len(self._bans) >= self._most:
            if now < self._full_until:
                return False
            if not self.cleanup(now):
                # Looking through a full table is worth the time once, not at every strike of a flood.
                self._full_until = min([other.until for other in self._bans.values()])
                return False
        is_new = ban.subject not in self._bans
        if ban.kinds:
            why = self._explain(ban.subject)
            why.kinds, why.requests, why.at = dict(ban.kinds[:KINDS]), ban.requests[-REQUESTS:], now
            ban = replace(ban, kinds=(), requests=())  # kept in the smaller table alone
        self._bans[ban.subject] = ban
        if is_new:
            self.began(ban.subject)
        return True

    def forget(self, subject: str) -> bool:
        """End a ban and forget the strikes; return whether there was a ban."""
        self._full_until = 0.0
        self._rows.pop(subject, None)
        self._why.pop(subject, None)
        return self._bans.pop(subject, None) is not None

    async def ban(self, subject: str, until: float, reason: str) -> None:
        """Ban by hand. In a full table it replaces the ban that ends first."""
        if subject not in self._bans and len(self._bans) >= self._most:
            del self._bans[min(self._bans.values(), key=lambda ban: ban.until).subject]
        self._rows.pop(subject, None)
        self._why.pop(subject, None)
        self._bans[subject] = Ban(subject, until, reason)
        self.began(subject)

    async def lift(self, subject: str) -> bool:
        """End a ban and forget the strikes; return whether there was a ban."""
        return self.forget(subject)

    async def list(self, now: float) -> Sequence[Ban]:
        """Return the bans in force, soonest end first."""
        bans = sorted((ban for ban in self._bans.values() if ban.until > now), key=lambda ban: ban.until)
        return [self._explained(ban) for ban in bans]

    def count(self) -> int:
        """Return how many bans are in force (those just over may be among them until the next cleanup)."""
        return len(self._bans)

    def cleanup(self, now: float) -> int:
        """Drop bans that are over and strikes that no longer count; return how many bans went."""
        over = [subject for subject, ban in self._bans.items() if ban.until <= now]
        for subject in over:
            del self._bans[subject]
        self._shrink(int(now // self._width), 1000)
        return len(over)

    def _explain(self, subject: str) -> Strikes:
        why = self._why.get(subject)
        if why is None:
            if len(self._why) >= EXPLAINED:
                self._why.popitem(last=False)
            why = self._why[subject] = Strikes()
        self._why.move_to_end(subject)
        return why

    def _explained(self, ban: Ban) -> Ban:
        why = self._why.get(ban.subject)
        return ban if why is None else replace(ban, kinds=why.sorted(), requests=why.requests)

    def _shrink(self, current: int, most: int = 2) -> None:
        """Forget up to `most` subjects whose strikes no longer count, and the oldest one beyond the bound."""
        for _ in range(min(most, len(self._rows) - 1)):
            subject = next(iter(self._rows))
            if self._rows[subject][-2] > current - SPAN and len(self._rows) <= self._most:
                break
            del self._rows[subject]
