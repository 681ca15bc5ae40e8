"""Time, as a value that is passed in."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two clocks that the product reads; built once, in `app.py`."""

    def now(self) -> float:
        """Return seconds since the Unix epoch: for dates that people and other machines see."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards: for durations, windows in memory and deadlines."""


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
