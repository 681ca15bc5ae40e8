"""File descriptors: clients may take a part only; backends, stores, files and management need the rest."""

from __future__ import annotations

import resource
from typing import Final

from sidecar.clock import Clock
from sidecar.events import EventSink, SecurityEvent
from sidecar.vocabulary import Event, Outcome

RESERVE: Final = 64
LINE_EVERY: Final = 60.0
"""Seconds between two log lines about the same shortage."""


def raise_limit() -> None:
    """Let this process open as many files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class DescriptorReserve:
    """Bounds the connections of clients on all listeners; counts those above the bound, and logs them once a minute.

    Each client may need a backend connection too, so that clients get half of what the reserve leaves.
    """

    __slots__ = ("_clock", "_events", "_limit", "_most", "_next_line", "_taken", "short")

    def __init__(self, events: EventSink, clock: Clock, limit: int | None = None) -> None:
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
        self._most = (self._limit - min(RESERVE, self._limit // 4)) // 2
        self._events = events
        self._clock = clock
        self._next_line = 0.0
        self._taken = 0
        self.short = 0

    def is_short(self) -> bool:
        """Return whether one more connection is too many; the caller refuses it, or ends another."""
        if self._taken < self._most:
            return False
        self.short += 1
        now = self._clock.monotonic()
        if now >= self._next_line:
            self._next_line = now + LINE_EVERY
            detail = {"reason": "file descriptors", "limit": self._limit, "connections": self.short}
            self._events.record(SecurityEvent(Event.OVERLOADED, Outcome.REFUSED, self._clock.now(), detail=detail))
        return True

    def take(self) -> None:
        """Count a connection."""
        self._taken += 1

    def give_back(self) -> None:
        """A connection is gone."""
        self._taken -= 1
