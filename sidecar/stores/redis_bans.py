"""Bans that replicas share: decided and looked up locally, exchanged in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import orjson

from sidecar.stores.interfaces import Ban
from sidecar.stores.memory_bans import KINDS, LONGEST_ID, REQUESTS, MemoryBanStore
from sidecar.stores.redis_connection import Command, RedisClient

QUEUED: Final = 10_000
"""Changes that wait to be sent; older ones are dropped first (their bans hold locally all the same)."""

TOLD_AT_ONCE: Final = 500
LOG_LENGTH: Final = 10_000
READ_AT_ONCE: Final = 1000
LISTEN_AGAIN: Final = 100
"""Exchanges between two readings of the whole list: a minute, for what the log has let go."""


class RedisBanStore:
    """A MemoryBanStore that shares its bans. `exchange` is called by the background task, every 0.6 s.

    A hash contains the bans, a stream the changes. Strikes count at once where they happen, and are added
    up in the background: refusals that are spread over replicas lead to a ban 0.6 s later.
    """

    def __init__(
        self,
        wire: RedisClient,
        local: MemoryBanStore,
        prefix: str = "sidecar",
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self._wire = wire
        self._local = local
        self._bans = f"{prefix}:bans"
        self._log = f"{prefix}:bans:log"
        self._strikes = f"{prefix}:strikes:"
        self._struck: dict[str, int] = {}
        self._since = 0.0
        self._queue: deque[tuple[str, bytes]] = deque(maxlen=QUEUED)
        self._heard = b""
        self._until_reading = 0
        self._hurry = hurry  # asks for the next exchange soon
        self.banned = local.banned
        self.rule = local.rule
        self.count = local.count
        self.list = local.list

    def strike(self, subject: str, weight: int, now: float, kind: str = "", request: str = "") -> Ban | None:
        """Count a refusal; return the ban when this strike made one."""
        ban = self._local.strike(subject, weight, now, kind, request)
        if ban is not None:
            self._tell(ban)
        elif subject in self._struck or len(self._struck) < QUEUED:
            if not self._struck:
                self._since = now
            self._struck[subject] = self._struck.get(subject, 0) + weight
        return ban

    async def ban(self, subject: str, until: float, reason: str) -> None:
        """Ban by hand, on every replica within a second."""
        await self._local.ban(subject, until, reason)
        self._tell(Ban(subject, until, reason))

    async def lift(self, subject: str) -> bool:
        """End a ban, on every replica within a second; return whether there was one here."""
        self._queue.append((subject, b""))
        self._struck.pop(subject, None)
        return self._local.forget(subject)

    @property
    def question(self) -> Command:
        """Ask for what is new; the reply is for the next `exchange`."""
        return ("XRANGE", self._log, b"(" + self._heard if self._heard else b"-", "+", "COUNT", READ_AT_ONCE)

    async def exchange(self, now: float, news: list[Any] | None = None) -> None:
        """Send local changes, receive those of other replicas; StoreUnavailable loses nothing.

        news  the reply to `question`, if it was asked
        """
        await self._add_up(now)
        while self._queue:
            batch = [self._queue[place] for place in range(min(TOLD_AT_ONCE, len(self._queue)))]
            await self._wire.submit([command for change in batch for command in self._said(*change)])
            for change in batch:
                if self._queue and self._queue[0] is change:
                    self._queue.popleft()
        if self._until_reading <= 0:
            await self._read_all(now)
            self._until_reading = LISTEN_AGAIN
            news = None
        self._until_reading -= 1
        await self._listen(now, news)

    async def tell_all(self, now: float) -> None:
        """Send every ban in force here: the server came back without them."""
        self._heard = b""
        self._until_reading = 0
        for ban in await self._local.list(now):
            self._tell(ban)

    async def _add_up(self, now: float) -> None:
        """Add the strikes since the last round to everyone's; the sum begins anew when `within` is over."""
        struck, self._struck = self._struck, {}
        if now - self._since > self._local.within:
            return  # from before an outage: too old to be added to what happens now
        names = [name for name in struck if not self._local.banned(name, now)]
        within = max(1, int(self._local.within * 1000))
        for start in range(0, len(names), TOLD_AT_ONCE):
            batch = names[start : start + TOLD_AT_ONCE]
            sums = [("INCRBY", self._strikes + name, struck[name]) for name in batch]
            ends = [("PEXPIRE", self._strikes + name, within, "NX") for name in batch]
            answers = await self._wire.submit([*sums, *ends])
            for name, strikes in zip(batch, answers, strict=False):
                ban = self._local.judge(name, strikes, now)
                if ban is not None:
                    self._tell(ban)

    def _tell(self, ban: Ban) -> None:
        self._struck.pop(ban.subject, None)
        self._queue.append((ban.subject, _value(ban)))
        self._hurry()

    def _said(self, subject: str, value: bytes) -> list[Command]:
        log = ("XADD", self._log, "MAXLEN", "~", LOG_LENGTH, "*", subject, value)
        kept = ("HSET", self._bans, subject, value) if value else ("HDEL", self._bans, subject)
        return [kept, log, ("DEL", self._strikes + subject)]

    async def _listen(self, now: float, entries: list[Any] | None) -> None:
        while True:
            if entries is None:
                (entries,) = await self._wire.submit([self.question])
            for number, (subject, value) in entries:
                self._heard = number
                self._hear(subject, value, now)
            if len(entries) < READ_AT_ONCE:
                return
            entries = None

    async def _read_all(self, now: float) -> None:
        """Read the whole list, and throw out what is over."""
        ((last),) = await self._wire.submit([("XREVRANGE", self._log, "+", "-", "COUNT", 1)])
        if last:
            self._heard = last[0][0]
        cursor: Any = b"0"
        while True:
            ((cursor, flat),) = await self._wire.submit([("HSCAN", self._bans, cursor, "COUNT", 500)])
            over = [
                subject
                for subject, value in zip(flat[::2], flat[1::2], strict=True)
                if not self._hear(subject, value, now)
            ]
            if over:
                await self._wire.submit([("HDEL", self._bans, *over)])
            if cursor in {b"0", 0}:
                return

    def _hear(self, subject: bytes, value: bytes, now: float) -> bool:
        """Take over a change; return whether it is a ban in force."""
        name = subject.decode(errors="replace")
        if not value:
            self._local.forget(name)
            return False
        ban = _ban(name, value)
        if ban is None or ban.until <= now:
            return False
        self._local.learn(ban, now)
        return True


def _value(ban: Ban) -> bytes:
    """Return a ban as replicas tell each other; one of a former version takes any value for the reason."""
    reason = [ban.reason, dict(ban.kinds), ban.requests] if ban.kinds else ban.reason
    return orjson.dumps([ban.until, reason, ban.strikes])


def _ban(subject: str, value: bytes) -> Ban | None:
    """Read what another replica wrote; None for what no replica writes."""
    try:
        until, reason, strikes = orjson.loads(value)
        kinds: tuple[tuple[str, int], ...] = ()
        requests: tuple[str, ...] = ()
        if isinstance(reason, list):
            reason, counts, ids = reason
            kinds = tuple((str(kind)[:64], int(count)) for kind, count in list(counts.items())[:KINDS])
            requests = tuple(str(each)[:LONGEST_ID] for each in ids[-REQUESTS:])
        return Ban(subject, float(until), str(reason)[:200], int(strikes), kinds, requests)
    except (ValueError, TypeError, AttributeError):
        return None
