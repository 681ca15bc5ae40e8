"""A month of made-up traffic of organizations of several kinds, minute by minute, from a fixed seed."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.anomalies.usage import QUIET_MINUTES, Measure, OrganizationUsage, Rule

DAY = 24 * 60
MONDAY = 29_030_400 - (29_030_400 + 3 * DAY) % (7 * DAY)
"""A minute since the epoch that begins a Monday (UTC)."""


def office(hour: float, day: int) -> float:
    """Weekdays from eight to six, little at night."""
    awake = math.exp(-(((hour - 13) / 4.0) ** 2))
    return (0.05 + awake) * (0.15 if day % 7 >= 5 else 1.0)


def evening(hour: float, day: int) -> float:
    """People at home: most at nine in the evening, more on weekends."""
    return (0.15 + math.exp(-((((hour - 21 + 12) % 24 - 12) / 3.5) ** 2))) * (1.4 if day % 7 >= 5 else 1.0)


def everywhere(hour: float, day: int) -> float:
    """A service with clients all over the world."""
    return 1.0 + 0.2 * math.sin(hour / 24 * 2 * math.pi)


def nightly(hour: float, day: int) -> float:
    """A batch job from two to three, and an office."""
    return office(hour, day) + (4.0 if 2 <= hour < 3 else 0.0)


@dataclass(frozen=True)
class Kind:
    """An organization: requests an hour at its busiest, and when."""

    name: str
    hourly: float
    shape: Callable[[float, int], float]


KINDS = [
    Kind("a large office", 6000, office),
    Kind("an office", 600, office),
    Kind("a small office", 120, office),
    Kind("people at home", 2000, evening),
    Kind("all over the world", 1500, everywhere),
    Kind("an office with a nightly job", 800, nightly),
]


class Traffic:
    """One organization's requests: a daily shape, growth of 1 % a day, busy and quiet hours, sudden events."""

    def __init__(self, kind: Kind, seed: str) -> None:
        self.kind = kind
        self._random = random.Random(seed)
        self._hour = self._quarter = 1.0
        self._event = 0  # minutes that a doubling lasts

    def rate(self, minute: int) -> float:
        """Return the requests of a minute that are to be expected."""
        if minute % 60 == 0:
            self._hour = self._random.lognormvariate(0, 0.25)
        if minute % 15 == 0:
            self._quarter = self._random.lognormvariate(0, 0.2)
        self._event = max(0, self._event - 1)
        if self._random.random() < 2 / (7 * DAY):  # twice a week: a class begins, a newsletter is sent
            self._event = self._random.randint(20, 90)
        day, within = divmod(minute, DAY)
        growth = 1.01**day
        shape = self.kind.shape(within / 60, day)
        return self.kind.hourly / 60 * shape * growth * self._hour * self._quarter * (2.0 if self._event else 1.0)

    def send(self, usage: OrganizationUsage, minute: int, times: float = 1.0) -> None:
        """Count one minute of requests, `times` as many as usual."""
        rate = self.rate(minute) * times
        requests = self._poisson(rate)
        if not requests:
            return
        at = MONDAY + minute
        usage.add(at, Measure.REQUESTS, requests)
        tokens = requests * 900 * self._random.lognormvariate(0, 1.2 / math.sqrt(requests))
        usage.add(at, Measure.TOKENS, int(tokens))
        usage.add(at, Measure.REFUSALS, self._poisson(0.01 * requests))
        people = max(3, int(self.kind.hourly / 10))
        for _ in range(min(requests, 50)):
            usage.came_from(str(int(self._random.triangular(0, people, 0))), at)

    def _poisson(self, mean: float) -> int:
        if mean > 40:
            return max(0, round(self._random.gauss(mean, math.sqrt(mean))))
        limit, product, count = math.exp(-mean), self._random.random(), 0
        while product > limit:
            product *= self._random.random()
            count += 1
        return count


@dataclass
class Month:
    """What a month of one organization came to."""

    alarms: list[tuple[int, list[str]]]
    delays: list[int | None]  # minutes until a theft was told of, None: not within half an hour
    too_small: int = 0  # thefts that stayed below the least that is told of


def month(kind: Kind, rule: Rule, *, days: int = 30, thefts: range = range(0)) -> Month:
    """Live a month; at each of these minutes, try in a copy what ten times the traffic would do for half an hour."""
    traffic, usage, told = Traffic(kind, kind.name), OrganizationUsage(MONDAY), 0
    done = Month([], [])
    for minute in range(days * DAY):
        if minute in thefts:
            _steal(done, copy.deepcopy(traffic), copy.deepcopy(usage), minute, rule)
        traffic.send(usage, minute)
        unusual = usage.unusual(MONDAY + minute, rule)
        if unusual and minute >= told:
            told = minute + QUIET_MINUTES
            done.alarms.append((minute, [str(each.measure) for each in unusual]))
    return done


def _steal(done: Month, traffic: Traffic, usage: OrganizationUsage, begin: int, rule: Rule) -> None:
    before = sum(traffic.rate(minute) for minute in range(begin, begin + 15)) * 10
    if before < 1.5 * rule.least[Measure.REQUESTS]:
        done.too_small += 1
        return
    for minute in range(begin, begin + 30):
        traffic.send(usage, minute, 10.0)
        if usage.unusual(MONDAY + minute, rule):
            done.delays.append(minute + 1 - begin)
            return
    done.delays.append(None)
