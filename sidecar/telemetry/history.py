"""The last hour in minutes: requests, refusals, times and tokens, and the latest access lines, for the console.

Requests and events leave a record in a queue; once a second all of them are counted. `take` is a deque's own append:
a request pays for nothing else.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import nlargest
from typing import Any, Final, TypeAlias

from sidecar.clock import Clock
from sidecar.events import SecurityEvent, Served
from sidecar.prices import NANO
from sidecar.telemetry.counters import OTHER, UNMATCHED
from sidecar.telemetry.log_record import TimestampFormatter, event_fields, served_fields
from sidecar.telemetry.recent_events import concerns
from sidecar.vocabulary import Event, Outcome
from sidecar.waiting_records import WaitingRecords

MINUTES: Final = 60
MOST_NAMES: Final = 64
"""Routes, and kinds of refusal, that a minute counts apart; more are counted as `other`."""
MOST_CLIENTS: Final = 10
KEPT: Final = 5000
LONGEST_PATH: Final = 256
"""Characters of the path of a kept access line."""
BOUNDS: Final = tuple(1e-5 * 1.3**number for number in range(70))
"""Upper bounds of the buckets of times: 10 µs to 12 minutes; a percentile is right within 15 %."""

Fact: TypeAlias = Served | SecurityEvent


def no_times() -> array[int]:
    """Return a count of zero for each bucket of `BOUNDS`, and one for what is above them."""
    return array("I", bytes(4 * (len(BOUNDS) + 1)))


class RouteMinute:
    """Requests of one route in one minute: all, those that were refused here, those that failed (5xx, or cut)."""

    __slots__ = ("failed", "refused", "requests", "times")

    def __init__(self) -> None:
        self.requests = 0
        self.refused = 0
        self.failed = 0
        self.times = no_times()


@dataclass(slots=True)
class Minute:
    """What happened in one minute; `number` is minutes since the epoch, `cost` nano-dollars.

    overhead, backend  times by bucket
    events    events by name, ordinary ones of single requests too
    refusals  (guard, code, outcome) → refusals; the outcome is `refused`, or `observed` in observe mode
    """

    number: int
    overhead: array[int] = field(default_factory=no_times)
    backend: array[int] = field(default_factory=no_times)
    routes: dict[str, RouteMinute] = field(default_factory=dict)
    refusals: dict[tuple[str, str, str], int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    asked: int = 0  # requests that the backend answered
    given: int = 0
    made: int = 0
    cost: int = 0

    def count(self, served: Served) -> None:
        """Count a finished request. Done for every request: outcomes are those of `request_outcome`, without a call."""
        route = self.routes.get(served.route) or self._route(served.route)
        status, backend, usage = served.status, served.backend, served.usage
        route.requests += 1
        if status >= 500 or status < 100:
            route.failed += 1
        elif status >= 400 and backend < 0.0:
            route.refused += 1
        route.times[bisect_left(BOUNDS, served.duration)] += 1
        self.overhead[bisect_left(BOUNDS, served.overhead)] += 1
        if backend >= 0.0:
            self.asked += 1
            self.backend[bisect_left(BOUNDS, backend)] += 1
        if usage is not None:
            self.given += usage.given
            self.made += usage.made
            self.cost += usage.cost or 0

    def _route(self, name: str) -> RouteMinute:
        name = name or UNMATCHED
        if name not in self.routes and len(self.routes) >= MOST_NAMES:
            name = OTHER
        return self.routes.setdefault(name, RouteMinute())

    def note(self, event: SecurityEvent) -> None:
        """Count an event, and once more by guard and code if it is a refusal of a request."""
        name = event.event.name
        self.events[name] = self.events.get(name, 0) + 1
        if not is_refusal(event):
            return
        key = (str(event.detail.get("guard") or ""), str(event.detail["code"]), event.outcome.value)
        if key not in self.refusals and len(self.refusals) >= MOST_NAMES:
            key = (OTHER, OTHER, event.outcome.value)
        self.refusals[key] = self.refusals.get(key, 0) + 1


def is_refusal(event: SecurityEvent) -> bool:
    """Return whether a request was refused, or would have been; calls of the admin API are not meant."""
    if event.outcome is not Outcome.REFUSED and event.outcome is not Outcome.OBSERVED:
        return False
    return "code" in event.detail and "action" not in event.detail


class TrafficHistory:
    """Counts an hour and keeps the latest access lines and refusals. `run` counts what waits, until it is cancelled."""

    only_events = True  # requests come by `take`

    def __init__(self, clock: Clock, *, most_kept: int = KEPT) -> None:
        self._clock = clock
        self._waiting: WaitingRecords[Fact] = WaitingRecords(self._count, "requests were not counted for the console")
        self.take: Callable[[Served], None] = self._waiting.put
        self.run = self._waiting.run
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)
        self._kept: deque[Fact] = deque(maxlen=most_kept)

    def record(self, event: SecurityEvent) -> None:
        """Take an event."""
        self._waiting.put(event)

    def served(self, served: Served) -> None:
        """Take the summary of a request."""
        self._waiting.put(served)

    def count(self) -> None:
        """Count the records that wait."""
        self._waiting.count()

    def _count(self, waiting: Iterator[Fact]) -> None:
        minute, kept = self._current(), self._kept
        for record in waiting:
            fact = record if len(record.path) <= LONGEST_PATH else _shortened(record)
            if isinstance(fact, Served):
                minute.count(fact)
                kept.append(fact)
            else:
                minute.note(fact)
                if is_refusal(fact):
                    kept.append(fact)

    def forget(self, kind: str, subject: str) -> None:
        """Drop the kept lines about an erased session, address or organization; the counts name none of them."""
        self.count()
        staying = [fact for fact in self._kept if not concerns(fact, kind, subject)]
        self._kept.clear()
        self._kept.extend(staying)

    def kept(self) -> Sequence[Fact]:
        """Return the kept requests and refusals, in order of time."""
        self.count()
        return tuple(self._kept)

    def about(self, request_id: str, organization: str | None = None) -> list[dict[str, Any]]:
        """Return the kept lines of one request; `organization` None: whosever it is."""
        self.count()
        return lines_of(
            fact for fact in self._kept if fact.request_id == request_id and organization in (None, fact.organization)
        )

    def refusals(self, organization: str | None = None) -> list[dict[str, Any]]:
        """Return the kept refusals as the log writes them, in order of time."""
        self.count()
        return lines_of(
            fact for fact in self._kept if isinstance(fact, SecurityEvent) and organization in (None, fact.organization)
        )

    def hour(self) -> dict[str, Any]:
        """Return the last hour as the console shows it: minutes with their counts, and what they make together."""
        self.count()
        now = self._now()
        held = {minute.number: minute for minute in self._minutes if minute.number > now - MINUTES}
        minutes = [held.get(number) or Minute(number) for number in range(now - MINUTES + 1, now + 1)]
        return {
            "minutes": [_minute(each) for each in minutes],
            "total": _total(minutes),
            "times": {
                "duration": percentiles(route.times for each in minutes for route in each.routes.values()),
                "overhead": percentiles(each.overhead for each in minutes),
                "backend": percentiles(each.backend for each in minutes),
            },
            "refusals": _refusals(minutes),
            "events": _events(minutes),
            "clients": self._clients(),
            "routes": _routes(minutes),
            "backend": _backend(minutes[-5:]),
        }

    def _clients(self) -> list[dict[str, Any]]:
        """Return the clients that were refused most often among the kept requests."""
        refused: dict[str, int] = {}
        for fact in self._kept:
            if isinstance(fact, Served) and fact.backend < 0.0 and 400 <= fact.status < 500:
                refused[fact.client_ip] = refused.get(fact.client_ip, 0) + 1
        most = nlargest(MOST_CLIENTS, refused.items(), key=lambda row: row[1])
        every = Counter(fact.client_ip for fact in self._kept if isinstance(fact, Served))
        return [{"client": client, "refused": count, "requests": every[client]} for client, count in most]

    def _current(self) -> Minute:
        number = self._now()
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(Minute(number))
        return self._minutes[-1]

    def _now(self) -> int:
        return int(self._clock.now() // 60)


def _shortened(fact: Fact) -> Fact:
    path = fact.path[:LONGEST_PATH]
    return fact._replace(path=path) if isinstance(fact, Served) else replace(fact, path=path)


def lines_of(facts: Iterable[Fact]) -> list[dict[str, Any]]:
    """Return facts as the log writes them. 5 µs each: many of them are work for a thread."""
    stamp = TimestampFormatter()
    return [
        served_fields(fact, stamp(fact.at)) if isinstance(fact, Served) else event_fields(fact, stamp(fact.at))
        for fact in facts
    ]


def percentiles(times: Iterable[array[int]]) -> dict[str, float | None]:
    """Return p50, p95 and p99 in seconds of times by bucket; None where nothing was counted."""
    counts = [sum(column) for column in zip(*times, strict=True)]
    return {f"p{part}": _percentile(counts, part / 100) for part in (50, 95, 99)}


def _percentile(counts: list[int], part: float) -> float | None:
    wanted = sum(counts) * part
    if not wanted:
        return None
    seen = 0
    for index, count in enumerate(counts):
        if count and seen + count >= wanted:
            upper = BOUNDS[min(index, len(BOUNDS) - 1)]
            lower = upper / 1.3 if index else 0.0
            return lower + (upper - lower) * (wanted - seen) / count
        seen += count
    return BOUNDS[-1]


def _minute(minute: Minute) -> dict[str, Any]:
    times = percentiles(each.times for each in minute.routes.values())
    return {
        "at": datetime.fromtimestamp(minute.number * 60, UTC).isoformat().replace("+00:00", "Z"),
        **_requests(minute.routes.values()),
        "p50": times["p50"],
        "p95": times["p95"],
        "tokens": minute.given + minute.made,
    }


def _requests(routes: Iterable[RouteMinute]) -> dict[str, int]:
    every = list(routes)
    return {
        "requests": sum(each.requests for each in every),
        "refused": sum(each.refused for each in every),
        "failed": sum(each.failed for each in every),
    }


def _total(minutes: list[Minute]) -> dict[str, Any]:
    return {
        **_requests(route for each in minutes for route in each.routes.values()),
        "input_tokens": sum(each.given for each in minutes),
        "output_tokens": sum(each.made for each in minutes),
        "cost_usd": sum(each.cost for each in minutes) / NANO,
    }


def _refusals(minutes: list[Minute]) -> list[dict[str, Any]]:
    """Return the refusals by guard and code, the most frequent first."""
    found: dict[tuple[str, str, str], int] = {}
    for minute in minutes:
        for key, count in minute.refusals.items():
            found[key] = found.get(key, 0) + count
    rows = sorted(found.items(), key=lambda row: (-row[1], row[0]))
    return [
        {"guard": guard, "code": code, "outcome": result, "count": count}
        for (guard, code, result), count in rows[:MOST_NAMES]
    ]


def _routes(minutes: list[Minute]) -> list[dict[str, Any]]:
    """Return the routes with their counts and times, the most used first."""
    found: dict[str, list[RouteMinute]] = {}
    for minute in minutes:
        for name, counts in minute.routes.items():
            found.setdefault(name, []).append(counts)
    rows: list[dict[str, Any]] = [
        {"route": name, **_requests(every), **percentiles(each.times for each in every)}
        for name, every in found.items()
    ]
    return sorted(rows, key=lambda row: -row["requests"])[:MOST_NAMES]


def _events(minutes: list[Minute]) -> dict[str, int]:
    """Return the events by name, the most frequent first; CHAT_MESSAGE_PROCESSED is a request, and not among them."""
    found: Counter[str] = Counter()
    for minute in minutes:
        found.update(minute.events)
    return dict(found.most_common())


def _backend(minutes: list[Minute]) -> Mapping[str, int]:
    """Return what the backend did in the last five minutes: requests that it answered, and its errors."""
    return {
        "answered": sum(each.asked for each in minutes),
        "errors": sum(each.events.get(Event.BACKEND_ERROR.name, 0) for each in minutes),
    }
