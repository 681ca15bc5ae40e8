"""Counters as plain numbers: counting is one addition, the exposition is made at a scrape.

The event loop's thread writes them, the thread that renders a scrape reads them. A reader copies a
dict in one step (`list(d.items())` does not release the interpreter's lock); numbers may differ by one request.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sidecar.vocabulary import Event, Outcome

OTHER: Final = "other"
"""The label of what is beyond a bound, or not in a closed set."""

UNMATCHED: Final = "unmatched"
"""The route label of a request that no route of the policy matched."""

METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)  # RFC 9110 §9

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,99}")

T = TypeVar("T")


def label(value: str) -> str:
    """Return a value that others chose as a label, or `other` when it is no plain short name."""
    return value if _LABEL.fullmatch(value) else OTHER


class BoundCounters(dict[str, T]):
    """What is counted under each name; made when first needed, at most `most`, then all under `other`."""

    def __init__(self, make: Callable[[], T], most: int) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, name: str) -> T:
        if len(self) >= self._most:
            name = OTHER
            if name in self:
                return self[name]
        child = self[name] = self._make()
        return child


class Histogram:
    """Counts by bucket; `bounds` are upper bounds in seconds, the last bucket is all above."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, tuple[str, float, float]] = {}  # bucket → trace, seconds, when: the last of each

    def exemplify(self, trace: str, seconds: float, at: float) -> None:
        """Keep a trace as the example of its bucket."""
        self.exemplars[bisect_left(self.bounds, seconds)] = (trace, seconds, at)

    def add(self, seconds: float) -> None:
        """Count one observation, in seconds."""
        # bisect_left: a bucket's bound is inclusive (`le`).
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (`le`, how many were at most that) for each bucket, `+Inf` last."""
        so_far = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), list(self.counts), strict=True):
            so_far += count
            buckets.append((bound, so_far))
        return buckets


DURATION: Final[tuple[float, ...]] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
BACKEND: Final[tuple[float, ...]] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OVERHEAD: Final[tuple[float, ...]] = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)


class RouteCounts:
    """All that is counted about the requests of one route."""

    __slots__ = ("backend", "duration", "overhead", "processed", "requests")

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}  # (method, status); both from closed sets
        self.duration = Histogram(DURATION)
        self.overhead = Histogram(OVERHEAD)
        self.backend = Histogram(BACKEND)
        self.processed = 0  # inspected messages that the backend answered

    def count(self, method: str, status: int, duration: float, overhead: float) -> None:
        """Count one answer; a status outside 100–599 (nothing was sent) counts as 0."""
        key = (method if method in METHODS else OTHER, status if 100 <= status <= 599 else 0)
        self.requests[key] = self.requests.get(key, 0) + 1
        # What `Histogram.add` does, without a call: this is done for every request.
        histogram = self.duration
        histogram.counts[bisect_left(histogram.bounds, duration)] += 1
        histogram.total += duration
        histogram = self.overhead
        histogram.counts[bisect_left(histogram.bounds, overhead)] += 1
        histogram.total += overhead


class LimitCounts:
    """How often one rate limit let pass and refused."""

    __slots__ = ("allowed", "refused")

    def __init__(self) -> None:
        self.allowed = 0
        self.refused = 0


@dataclass(frozen=True)
class Counted:
    """What one scrape shows of what was counted, copied.

    events            number by event, route and outcome; those of the routes of the policy in force from 0 on
    tokens            number by organization, provider, model and direction
    costs             nano-dollars by organization, provider and model
    most_series       labels of organizations beyond this number are `other`
    most_credentials  credentials beyond this number are not shown
    """

    version: str
    events: dict[tuple[Event, str, Outcome], int]
    routes: list[tuple[str, RouteCounts]]
    limits: list[tuple[str, LimitCounts]]
    tokens: list[tuple[tuple[str, str, str, str], int]]
    costs: list[tuple[tuple[str, str, str], int]]
    sink_failures: int
    most_series: int
    most_credentials: int
