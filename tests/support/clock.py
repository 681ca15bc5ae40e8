"""A clock that a test turns."""

from __future__ import annotations


class FakeClock:
    """Both clocks stand still until `advance()`; they start at different values so that mixing them shows."""

    def __init__(self, now: float = 1_800_000_000.0, monotonic: float = 1_000.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds
