"""One sliding window as a short row of numbers.

A window of W seconds is cut into 60 sub-buckets. An admitted request counts from its own sub-bucket
until 60 later ones are over too: always for W seconds, and for at most one sub-bucket more. So no
window of W seconds, wherever it begins, ever contains more than the limit, and a steady pace is
admitted as an exact log would admit it, to within W/60.

A row is a flat array `[total, bucket, count, bucket, count, …]`, oldest first, never more than 61
pairs, never without one; the only pair with a count of 0 stands alone. No object for a request, nothing
that the garbage collector would have to look through: a client that came once costs some 300 bytes with
its name, the busiest one 1.3 KiB, whatever the limit.
"""

from __future__ import annotations

import math
from array import array
from typing import Final, TypeAlias

BUCKETS: Final = 60
SPAN: Final = BUCKETS + 1
"""Buckets for which a request counts: its own, and the 60 after it."""

SLACK: Final = 1e-6
"""Added to waits, so that rounding never lets a client come back a moment too early."""

Row: TypeAlias = "array[int]"


def width_of(window: float) -> float:
    """Return a sub-bucket's length in seconds, rounded up: 60 of them are never shorter than the window."""
    return math.nextafter(window / BUCKETS, math.inf)


def empty(bucket: int) -> Row:
    """Return a row without requests."""
    return array("q", (0, bucket, 0))


def expire(row: Row, current: int) -> None:
    """Forget what no longer counts in bucket `current`."""
    floor = current - BUCKETS
    end, gone, length = 1, 0, len(row)
    while end < length and row[end] < floor:
        gone += row[end + 1]
        end += 2
    if end == length:
        row[:] = empty(current)
    else:
        del row[1:end]
        row[0] -= gone


def add(row: Row, current: int, count: int = 1) -> bool:
    """Count `count` requests now; return whether a bucket was begun. A clock that steps back adds to the newest."""
    row[0] += count
    if row[-2] >= current:
        row[-1] += count
        return False
    if row[-1]:
        row.append(current)
        row.append(count)
    else:
        row[-2] = current
        row[-1] = count
    return True


def frees(row: Row, limit: int) -> int:
    """Return the bucket with whose end the row falls below the limit (the first one, but after a lowered limit)."""
    excess = row[0] - limit + 1
    for place in range(1, len(row), 2):
        excess -= row[place + 1]
        if excess <= 0:
            return row[place]
    return row[-2]
