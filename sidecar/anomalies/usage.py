"""The usage of one organization, and of the sessions that there are, as counts of minutes and hours."""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import orjson

from sidecar.anomalies.baseline import PACKED, HourlyBaseline, Usual, usual

WINDOW: Final = 15
"""Minutes that are compared with what is usual."""
HOUR: Final = 60
MODELS: Final = 64
"""Models of an organization that are remembered; beyond them, new ones are not reported."""
MODEL_SEEN: Final = 5
"""Answers of a new model before it counts as used: one may be a test."""
NETWORKS: Final = 1024
"""Networks of an organization in one hour that are told apart."""
SESSION_NETWORKS: Final = 16
SAMPLES: Final = 4096
"""Quarters of an hour of single sessions that say what a session usually does."""
FEWEST_SAMPLES: Final = 200
FORMAT: Final = b"usage1"
MOST_PACKED: Final = 64 * 1024
"""Bytes of a history that is opened."""
QUIET_MINUTES: Final = HOUR
"""Minutes for which a reported subject is not reported again."""


class Measure(StrEnum):
    """What is counted of a subject."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    REFUSALS = "refusals"
    NETWORKS = "networks"


COUNTED: Final = (Measure.REQUESTS, Measure.TOKENS, Measure.REFUSALS)


@dataclass(frozen=True, slots=True)
class Rule:
    """When usage is unusual: `factor` times what is usual, and at least so many in fifteen minutes.

    `networks` counts in an hour.
    """

    factor: float = 4.0
    least: dict[Measure, int] = field(
        default_factory=lambda: {
            Measure.REQUESTS: 60,
            Measure.TOKENS: 100_000,
            Measure.REFUSALS: 30,
            Measure.NETWORKS: 20,
        }
    )


@dataclass(frozen=True, slots=True)
class Unusual:
    """One measure of a subject that is unlike what it was: the count, and the highest that would be usual."""

    measure: Measure
    count: int
    most: float
    median: float


class SlidingCount:
    """Counts of the last fifteen minutes, and of the hour that runs."""

    __slots__ = ("_minute", "_minutes", "baseline", "hour", "total")

    def __init__(self, minute: int) -> None:
        self._minute = minute
        self._minutes = [0] * WINDOW
        self.total = 0
        self.hour = 0
        self.baseline = HourlyBaseline(minute // HOUR)

    def add(self, minute: int, count: int) -> None:
        """Count in the minute that runs."""
        if minute != self._minute:
            self.advance(minute)
        self._minutes[minute % WINDOW] += count
        self.total += count
        self.hour += count

    def advance(self, minute: int) -> None:
        """Forget what is older than the window; close the hour if it is over."""
        last = self._minute
        if minute <= last:
            return
        for gone in range(last + 1, min(minute, last + WINDOW) + 1):
            self.total -= self._minutes[gone % WINDOW]
            self._minutes[gone % WINDOW] = 0
        if minute // HOUR != last // HOUR:
            self.baseline.close(last // HOUR, self.hour)
            self.hour = 0
        self._minute = minute


class OrganizationUsage:
    """What one organization uses."""

    __slots__ = (
        "_counts", "_hour", "_models", "_networks", "_networks_baseline", "_since", "_usual", "restored", "told_until",
    )  # fmt: skip

    def __init__(self, minute: int) -> None:
        self._counts = {measure: SlidingCount(minute) for measure in COUNTED}
        self._hour = self._since = minute // HOUR
        self._models: dict[str, int] = {}
        self._networks: set[str] = set()
        self._networks_baseline = HourlyBaseline(self._hour)
        self._usual: dict[Measure, Usual | None] = {}  # of this hour
        self.restored = False  # anomalies.watch: its history was looked for in the store
        self.told_until = 0  # the minute until which no further event is recorded

    def packed(self) -> bytes:
        """Return its history, compressed, for `restore`."""
        baselines = [*(each.baseline for each in self._counts.values()), self._networks_baseline]
        models = orjson.dumps([self._since, self._models])
        return zlib.compress(FORMAT + b"".join(each.packed() for each in baselines) + models, 1)

    def restore(self, data: bytes, minute: int) -> bool:
        """Take over a packed history in place of the own one; False: it is none, and nothing has changed."""
        try:
            opened = zlib.decompressobj().decompress(data, MOST_PACKED)
            if not opened.startswith(FORMAT):
                return False
            at, baselines = len(FORMAT), []
            for _ in range(len(COUNTED) + 1):
                baselines.append(HourlyBaseline.unpacked(opened[at : at + PACKED], minute // HOUR))
                at += PACKED
            since, models = orjson.loads(opened[at:])
            since = min(self._since, int(since))
            known = {str(name): int(seen) for name, seen in list(models.items())[:MODELS]}
        except (ValueError, TypeError, AttributeError, OverflowError, zlib.error):
            return False
        self._since = since
        self._models = known | self._models
        self._networks_baseline = baselines.pop()
        for sliding, baseline in zip(self._counts.values(), baselines, strict=True):
            sliding.baseline = baseline
        self._usual.clear()
        return True

    def add(self, minute: int, measure: Measure, count: int) -> None:
        """Count requests, tokens or refusals."""
        self._counts[measure].add(minute, count)

    def came_from(self, network: str, minute: int) -> None:
        """Note a network of a request."""
        if minute // HOUR != self._hour:
            self._begin(minute // HOUR)
        if len(self._networks) < NETWORKS:
            self._networks.add(network)

    def used(self, model: str, minute: int) -> str:
        """Note an answer of a model; return its name when it is new to an organization that is known."""
        seen = self._models.get(model, 0)
        if seen > MODEL_SEEN or (not seen and len(self._models) >= MODELS):
            return ""
        self._models[model] = seen + 1
        is_known = minute // HOUR - self._since > 24
        return model if is_known and seen + 1 == MODEL_SEEN else ""

    def unusual(self, minute: int, rule: Rule) -> list[Unusual]:
        """Return the measures that are unusual now."""
        if minute // HOUR != self._hour:
            self._begin(minute // HOUR)
        found = []
        for measure, sliding in self._counts.items():
            sliding.advance(minute)
            if sliding.total >= rule.least[measure]:
                found += self._compared(measure, sliding.total, WINDOW / HOUR, sliding.baseline, rule)
        if len(self._networks) >= rule.least[Measure.NETWORKS]:
            found += self._compared(Measure.NETWORKS, len(self._networks), 1.0, self._networks_baseline, rule)
        return found

    def _begin(self, hour: int) -> None:
        self._networks_baseline.close(self._hour, len(self._networks))
        self._networks.clear()
        self._usual.clear()
        self._hour = hour

    def _compared(
        self, measure: Measure, count: int, hours: float, baseline: HourlyBaseline, rule: Rule
    ) -> list[Unusual]:
        if measure not in self._usual:
            self._usual[measure] = baseline.usual(self._hour)
        known = self._usual[measure]
        if known is None:
            return []
        most = known.most(hours, rule.factor, self._unit(known) if measure is Measure.TOKENS else 1.0)
        return [Unusual(measure, count, most, known.median * hours)] if count > most else []

    def _unit(self, tokens: Usual) -> float:
        """Return twice the tokens of a usual request: requests differ in length about as much as that."""
        requests = self._counts[Measure.REQUESTS].baseline.usual(self._hour)
        return max(1.0, 2 * tokens.median / max(requests.median, 1.0)) if requests is not None else 1.0


@dataclass(slots=True)
class SessionUsage:
    """What one session has used in the quarter of an hour that runs."""

    organization: str
    counts: dict[Measure, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    networks: set[str] = field(default_factory=set)

    def came_from(self, network: str) -> None:
        """Note a network of its requests."""
        if len(self.networks) < SESSION_NETWORKS:
            self.networks.add(network)

    def counted(self) -> dict[Measure, int]:
        """Return all measures."""
        return {**self.counts, Measure.NETWORKS: len(self.networks)}


class SessionPopulation:
    """What sessions usually do in a quarter of an hour. A session lives too short to be compared with itself."""

    def __init__(self) -> None:
        self._samples: dict[Measure, deque[int]] = {measure: deque(maxlen=SAMPLES) for measure in Measure}
        self._usual: dict[Measure, Usual] = {}

    def learn(self, sessions: list[SessionUsage]) -> None:
        """Take the counts of the sessions of a quarter of an hour that is over."""
        for session in sessions:
            for measure, count in session.counted().items():
                self._samples[measure].append(count)
        if len(self._samples[Measure.REQUESTS]) >= FEWEST_SAMPLES:
            self._usual = {measure: usual(samples) for measure, samples in self._samples.items()}

    def unusual(self, session: SessionUsage, rule: Rule, least: dict[Measure, int]) -> list[Unusual]:
        """Return the measures in which a session is unlike all others."""
        found = []
        for measure, count in session.counted().items():
            known = self._usual.get(measure)
            if known is not None and count >= least[measure]:
                # Sessions differ more from one another than the hours of an organization.
                most = known.most(1.0, 2.5 * rule.factor)
                if count > most:
                    found.append(Unusual(measure, count, most, known.median))
        return found
