"""The exact log of admitted requests: slow, obvious, and what the stores are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.limit import Limit


def worst(times: Sequence[float], window: float) -> int:
    """Return the largest count in any closed window of that length."""
    header_writers = sorted(times)
    most = start = 0
    for end, stamp in enumerate(header_writers):
        while stamp - header_writers[start] > window:
            start += 1
        most = max(most, end - start + 1)
    return most


class ExactLog:
    """Admit by the exact log of one limit; `lag` lets each request count that much longer."""

    def __init__(self, limit: Limit, lag: float = 0.0) -> None:
        self._limit = limit
        self._counts_for = limit.window + lag
        self.times: list[float] = []

    def room(self, now: float) -> bool:
        return sum(now - stamp <= self._counts_for for stamp in self.times) < self._limit.limit

    def add(self, now: float) -> None:
        self.times.append(now)
