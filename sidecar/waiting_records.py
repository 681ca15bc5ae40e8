"""Records that requests leave behind, counted in the background: once a second, and a thousand at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink, Served

_log = logging.getLogger(__name__)
WAITING: Final = 20_000
"""Records that wait to be counted; of more, the oldest are left out."""
TICK: Final = 1.0
TURN: Final = 1000
"""Records that are counted before others get their turn of the loop."""

R = TypeVar("R")


class FollowedSink(EventSink, Protocol):
    """Where events go, and where the summaries of requests come from."""

    def follow(self, served: Callable[[Served], None]) -> None:
        """Call `served` with the summary of each finished request from now on."""
        ...

    def leave(self, served: Callable[[Served], None]) -> None:
        """Call it no more."""
        ...


class WaitingRecords(Generic[R]):
    """A bounded queue, and the loop that empties it.

    put       takes a record: the queue's own append, because it is called for each request
    count     counts the records that it is given
    then      is awaited after each turn; StoreUnavailable means that it is tried again at the next one
    on_fault  what the log says when either fails; the loop goes on
    """

    def __init__(
        self, count: Callable[[Iterator[R]], None], on_fault: str, then: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._waiting: deque[R] = deque(maxlen=WAITING)
        self.put: Callable[[R], None] = self._waiting.append
        self._count = count
        self._on_fault = on_fault
        self._then = then

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Leave out what waits."""
        self._waiting.clear()

    def count(self, most: int = WAITING) -> bool:
        """Count up to `most` records; return whether more wait."""
        if self._waiting:
            self._count(self._turn(most))
        return bool(self._waiting)

    async def run(self) -> None:
        """Count once a second, until it is cancelled."""
        while True:
            more = False
            try:
                more = self.count(TURN)
                if self._then is not None:
                    await self._then()
            except StoreUnavailable:
                more = False
            except Exception:  # noqa: BLE001  a fault here must not end the counting for good
                _log.exception(self._on_fault)
                more = False
            await asyncio.sleep(0 if more else TICK)

    def _turn(self, most: int) -> Iterator[R]:
        """Take each record out before it is counted: one that cannot be counted is not met again."""
        for _ in range(min(most, len(self._waiting))):
            yield self._waiting.popleft()
