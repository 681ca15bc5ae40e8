"""What is usual at an hour: the median of earlier hours, and how far they are from it."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

DAY: Final = 24
WEEK: Final = 7 * DAY
HOURS: Final = 4 * WEEK
LEARNT: Final = DAY
"""Hours of history below which nothing is known to be unusual."""
DAILY: Final = 5
"""Days of history from which an hour is compared with the same time of earlier days."""
SIGMA: Final = 1.4826
"""MAD × this is the standard deviation of normally distributed values."""
DEVIATIONS: Final = 6.0
WEEKLY: Final = 3
"""Weeks of history from which an hour is compared with the same day of the week."""
LARGEST: Final = 2**32 - 1
_ENDS: Final = struct.Struct("=II")
PACKED: Final = _ENDS.size + 4 * HOURS


@dataclass(frozen=True, slots=True)
class Usual:
    """The median of some hours, and the median of their absolute distances from it (MAD)."""

    median: float
    deviation: float

    def most(self, hours: float, factor: float, unit: float = 1.0) -> float:
        """Return the highest count that is usual in a stretch of `hours`, `factor` times the median at least.

        The last term is the noise of counting: a short stretch varies more than an hour. `unit` is what comes at once,
        as the tokens of one request.
        """
        expected = self.median * hours
        spread = DEVIATIONS * SIGMA * self.deviation * hours
        noise = DEVIATIONS * unit * sqrt(max(expected / unit, 1.0))
        return max(factor * expected, expected + spread + noise)


class HourlyBaseline:
    """The counts of one subject in each of the last four weeks' hours."""

    __slots__ = ("_first", "_next", "_values")

    def __init__(self, hour: int) -> None:
        """Begin at `hour` (hours since the epoch), of which only a part may have been seen: it does not count."""
        self._values = array("I", bytes(4 * HOURS))
        self._first = hour + 1
        self._next = hour + 1

    def packed(self) -> bytes:
        """Return it as bytes of a fixed length, for `unpacked`."""
        return _ENDS.pack(self._first, self._next) + self._values.tobytes()

    @classmethod
    def unpacked(cls, data: bytes, hour: int) -> HourlyBaseline:
        """Return what was packed, hours that have passed since then included; ValueError for anything else."""
        if len(data) != PACKED:
            raise ValueError("a history of another length")
        first, after = _ENDS.unpack_from(data)
        if not first <= after <= hour + 1:
            raise ValueError("a history of the future")
        made = cls(hour)
        made._first, made._next = first, after
        made._values = array("I", data[_ENDS.size :])
        return made

    @property
    def known(self) -> int:
        """Hours of history."""
        return min(HOURS, self._next - self._first)

    def close(self, hour: int, count: int) -> None:
        """Take the count of an hour that is over; hours since the last one that was taken had none."""
        if hour < self._first:
            return
        for empty in range(max(self._next, hour - HOURS), hour):
            self._values[empty % HOURS] = 0
        self._values[hour % HOURS] = min(count, LARGEST)
        self._next = hour + 1

    def usual(self, hour: int) -> Usual | None:
        """Return what is usual at `hour`, which is not over; None while too little is known.

        From the sixth day on: at this time of earlier days; once three weeks are known: of the same day of earlier
        weeks. The hours before and after count as well, the busiest of the three: days do not begin on the minute.
        Before, the hours of a day are not told apart, and the busiest one stands for what is usual.
        """
        begin, end = max(self._first, hour - HOURS), min(self._next, hour)
        if end - begin < LEARNT:
            return None
        if end - begin < DAILY * DAY + 1:
            busiest = max(self._values[each % HOURS] for each in range(begin, end))
            return Usual(float(busiest), 0.0)
        step = WEEK if end - begin > WEEKLY * WEEK else DAY
        found = []
        for near in (hour - 1, hour, hour + 1):
            same = [self._values[each % HOURS] for each in range(near - step, begin - 1, -step) if each < end]
            if same:
                found.append(usual(same))
        return max(found, key=lambda each: each.median)


def usual(values: Sequence[float]) -> Usual:
    """Return the median and the MAD of some values, at least one."""
    middle = median(sorted(values))
    return Usual(middle, median(sorted(abs(value - middle) for value in values)))


def median(ordered: Sequence[float]) -> float:
    """Return the median of ordered values."""
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
