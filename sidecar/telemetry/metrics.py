"""Prometheus metrics: counted as plain numbers, made into text when scraped, in a thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidecar.events import SecurityEvent, Served
from sidecar.limit import LimitReport
from sidecar.telemetry.counters import OTHER, UNMATCHED, BoundCounters, Counted, LimitCounts, RouteCounts, label
from sidecar.telemetry.gauges import Gauges, Reading, read
from sidecar.telemetry.request_outcome import is_processed_message
from sidecar.vocabulary import Code, Event, Outcome

DIRECTIONS: Final = frozenset({"input", "output"})
DECLARED: Final = (
    *sorted({(code.event, Outcome.REFUSED) for code in Code if code.event is not None}, key=lambda pair: pair[0].value),
    (Event.IP_BANNED, Outcome.REFUSED),
    (Event.SECRET_REDACTED, Outcome.CHANGED),
    (Event.GUARD_FAILED, Outcome.REFUSED),
    (Event.BUDGET_EXCEEDED, Outcome.REFUSED),
    (Event.LINK_REMOVED, Outcome.CHANGED),
)
"""Events that are 0 for each route from the start: `increase` does not see the first one of a series that it begins."""


class Metrics:
    """Counts what happens (an EventSink), and shows it.

    Names come from the policy (routes, limits) or from closed sets. What clients or providers can
    name (an organization's claim, a model) is bounded: beyond `most_…`, it is counted as `other`.
    """

    def __init__(
        self,
        version: str,
        *,
        most_routes: int = 256,
        most_limits: int = 256,
        most_token_series: int = 1000,
        most_credentials: int = 1000,
    ) -> None:
        self._version = version
        self._gauges = Gauges()
        self._routes: BoundCounters[RouteCounts] = BoundCounters(RouteCounts, most_routes)
        self._limits: BoundCounters[LimitCounts] = BoundCounters(LimitCounts, most_limits)
        self._events: dict[tuple[Event, str, Outcome], int] = {}
        self._tokens: dict[tuple[str, str, str, str], int] = {}
        self._costs: dict[tuple[str, str, str], int] = {}
        self._most_token_series = most_token_series
        self._most_credentials = most_credentials
        self._sink_failures = 0
        self._declared: tuple[str, ...] = ()
        self._most_routes = most_routes

    def watch(self, gauges: Gauges) -> None:
        """Set the source of the gauges; called once, when the parts exist."""
        self._gauges = gauges

    def declare(self, routes: Iterable[str]) -> None:
        """Name the routes of the policy in force: their `DECLARED` events are shown from now on, 0 included."""
        self._declared = tuple(dict.fromkeys(name or UNMATCHED for name in routes))[: self._most_routes]

    # Recording: on the event loop, a few additions each.

    def served(self, served: Served) -> None:
        """Count a finished request under its route: status, duration, overhead, time of the backend."""
        route = self._routes[served.route or UNMATCHED]
        route.count(served.method, served.status, served.duration, served.overhead)
        trace = served.trace
        if trace is not None and (trace.parent_id or trace.sampled):
            # A trace that begins here and is not sampled is nowhere to be looked up.
            route.duration.exemplify(trace.trace_id, served.duration, served.at)
        if served.backend >= 0.0:
            route.backend.add(served.backend)
            if served.inspected and is_processed_message(served):
                route.processed += 1

    def record(self, event: SecurityEvent) -> None:
        """Count an event by name, route and outcome."""
        self._count(event.event, event.route, event.outcome)

    def _count(self, event: Event, route: str, result: Outcome) -> None:
        route = route or UNMATCHED
        if route not in self._routes:
            self._routes[route]
            route = route if route in self._routes else OTHER
        key = (event, route, result)
        self._events[key] = self._events.get(key, 0) + 1

    def decided(self, report: LimitReport) -> None:
        """Count the decisions of one request's limits: all admitted it, or those without room refused it."""
        refused = False
        for ask, take in zip(report.asks, report.takes, strict=True):
            if not take[0] and ask.counted:
                self._limits[ask.limit.name].refused += 1
                refused = True
        if not refused:
            for ask in report.asks:
                if ask.counted:
                    self._limits[ask.limit.name].allowed += 1

    def tokens(self, organization: str, provider: str, model: str, direction: str, count: int) -> None:
        """Count tokens that a provider reported; direction is `input` or `output`."""
        if count <= 0 or direction not in DIRECTIONS:
            return
        key = (label(organization), label(provider), label(model), direction)
        if key not in self._tokens and len(self._tokens) >= self._most_token_series:
            key = (OTHER, OTHER, OTHER, direction)
        self._tokens[key] = self._tokens.get(key, 0) + count

    def cost(self, organization: str, provider: str, model: str, nano: int) -> None:
        """Count what tokens have cost, in nano-dollars."""
        key = (label(organization), label(provider), label(model))
        if key not in self._costs and len(self._costs) >= self._most_token_series:
            key = (OTHER, OTHER, OTHER)
        self._costs[key] = self._costs.get(key, 0) + nano

    def sink_failed(self) -> None:
        """Count a sink of the fan-out that raised."""
        self._sink_failures += 1

    # Showing: `read` on the event loop, `render` in a thread.

    def read(self) -> Reading:
        """Ask the gauges, on the loop where their owners live."""
        return read(self._gauges)

    def render(self, accept: str, reading: Reading) -> tuple[bytes, str]:
        """Return the exposition and its content type. Takes milliseconds: call it in a thread."""
        from sidecar.telemetry.exposition import exposition  # see there why not before

        return exposition(self._counted(), reading, accept)

    def _counted(self) -> Counted:
        events = dict(self._events)
        for route in self._declared:
            for event, result in DECLARED:
                events.setdefault((event, route, result), 0)
        return Counted(
            self._version,
            events,
            list(self._routes.items()),
            list(self._limits.items()),
            list(self._tokens.items()),
            list(self._costs.items()),
            self._sink_failures,
            self._most_token_series,
            self._most_credentials,
        )
