"""Revocations that replicas tell each other: a stream in Redis that each of them reads every 0.6 s.

A stream and not a channel: a replica that was cut off for a while reads what it has missed.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.stores.redis_connection import Command, RedisClient

QUEUED: Final = 10_000
"""Revocations that wait to be sent while Redis is away; older ones are dropped first."""
LOG_LENGTH: Final = 10_000
KEPT: Final = 3_600_000
"""Milliseconds for which a revocation is there for replicas that are cut off; erased names do not stay longer."""
SENT_AT_ONCE: Final = 500
READ_AT_ONCE: Final = 1000


class RedisRevocations:
    """Sends what was revoked here and receives what was revoked elsewhere.

    heard  called with a revocation of another replica
    hurry  asks for the next exchange soon
    """

    def __init__(
        self,
        wire: RedisClient,
        heard: Callable[[Revoked], None],
        prefix: str = "sidecar",
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self._wire = wire
        self._log = f"{prefix}:revocations"
        self._heard = heard
        self._hurry = hurry
        self._replica = secrets.token_hex(8).encode()
        self._queue: deque[Revoked] = deque(maxlen=QUEUED)
        self._last = b""  # the newest entry that was read

    def tell(self, revoked: Revoked) -> None:
        """Tell the other replicas, within a second."""
        self._queue.append(revoked)
        self._hurry()

    @property
    def question(self) -> Command:
        """Ask for what is new; the reply is for the next `exchange`."""
        return ("XRANGE", self._log, b"(" + (self._last or b"0-0"), "+", "COUNT", READ_AT_ONCE)

    async def exchange(self, news: list[Any] | None = None) -> None:
        """Send and receive; StoreUnavailable loses nothing. `news` is the reply to `question`, if it was asked."""
        while self._queue:
            batch = [self._queue[place] for place in range(min(SENT_AT_ONCE, len(self._queue)))]
            numbers = await self._wire.submit([self._entry(revoked) for revoked in batch])
            await self._wire.submit(self._trimmed(numbers[-1]))
            for revoked in batch:
                if self._queue and self._queue[0] is revoked:
                    self._queue.popleft()
        if not self._last:
            # What was revoked before this replica began concerns no request of it.
            (newest,) = await self._wire.submit([("XREVRANGE", self._log, "+", "-", "COUNT", 1)])
            self._last = newest[0][0] if newest else b"0-0"
            news = None
        await self._read(news)

    def begin_anew(self) -> None:
        """Redis came back empty: everything in the log is new."""
        self._last = b"0-0" if self._last else b""

    async def _read(self, entries: list[Any] | None) -> None:
        while True:
            if entries is None:
                (entries,) = await self._wire.submit([self.question])
            for number, values in entries:
                self._last = number
                found = read(values)
                if found is not None and found[1] != self._replica:
                    self._heard(found[0])
            if len(entries) < READ_AT_ONCE:
                return
            entries = None

    def _trimmed(self, newest: bytes) -> list[Command]:
        """Return the commands that drop what is older than KEPT, by the server's own clock."""
        oldest = int(newest.partition(b"-")[0]) - KEPT
        return [("XTRIM", self._log, "MINID", max(0, oldest)), ("PEXPIRE", self._log, KEPT)]

    def _entry(self, revoked: Revoked) -> Command:
        fields = ("k", revoked.kind.value, "n", revoked.name, "c", revoked.cause.value, "o", revoked.organization)
        return ("XADD", self._log, "MAXLEN", "~", LOG_LENGTH, "*", *fields, "r", self._replica)


def read(values: Any) -> tuple[Revoked, bytes] | None:
    """Return a revocation and the replica that wrote it; None for what no replica writes."""
    try:
        fields = dict(zip(values[::2], values[1::2], strict=True))
        kind, cause = SubjectKind(fields[b"k"].decode()), Cause(fields[b"c"].decode())
        name, organization = (fields[key].decode("utf-8", "surrogatepass") for key in (b"n", b"o"))
        return Revoked(kind, name, cause, organization), bytes(fields[b"r"])
    except (KeyError, ValueError, AttributeError, TypeError):
        return None
