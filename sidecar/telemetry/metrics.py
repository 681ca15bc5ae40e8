"""Prometheus metrics: counted as plain numbers, made into text when scraped, in a thread."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from sidecar.events import SecurityEvent, Served
from sidecar.limit import LimitReport
from sidecar.prices import NANO
from sidecar.telemetry.counters import OTHER, UNMATCHED, BoundCounters, Histogram, LimitCounts, RouteCounts
from sidecar.telemetry.gauges import Gauges, Reading, read
from sidecar.telemetry.request_outcome import is_processed_message
from sidecar.vocabulary import Code, Event, Outcome

DIRECTIONS: Final = frozenset({"input", "output"})
STREAM_KINDS: Final = frozenset({"sse", "websocket", "chunked", "egress"})
DECLARED: Final = (
    *sorted({(code.event, Outcome.REFUSED) for code in Code if code.event is not None}, key=lambda pair: pair[0].value),
    (Event.IP_BANNED, Outcome.REFUSED),
    (Event.SECRET_REDACTED, Outcome.CHANGED),
    (Event.GUARD_FAILED, Outcome.REFUSED),
    (Event.BUDGET_EXCEEDED, Outcome.REFUSED),
    (Event.LINK_REMOVED, Outcome.CHANGED),
)
"""Events that are 0 for each route from the start: `increase` does not see the first one of a series that it begins."""
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,99}")


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
        key = (_label(organization), _label(provider), _label(model), direction)
        if key not in self._tokens and len(self._tokens) >= self._most_token_series:
            key = (OTHER, OTHER, OTHER, direction)
        self._tokens[key] = self._tokens.get(key, 0) + count

    def cost(self, organization: str, provider: str, model: str, nano: int) -> None:
        """Count what tokens have cost, in nano-dollars."""
        key = (_label(organization), _label(provider), _label(model))
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
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Scrape(self._families(reading)))
        ProcessCollector(registry=registry)
        if _wants_openmetrics(accept):
            return cast(bytes, generate_openmetrics(registry)), OPENMETRICS  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4

    def _families(self, reading: Reading) -> Iterator[Metric]:
        yield from self._counters(reading)
        yield from self._histograms()
        yield from _state(reading)
        yield from _policy(reading)
        yield from _credentials(reading, self._most_credentials)
        yield _budgets(reading, self._most_token_series)
        yield InfoMetricFamily("sidecar_build", "The version of this process.", {"version": self._version})

    def _counters(self, reading: Reading) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "sidecar_security_events", "Recorded events.", labels=["event", "route", "outcome"]
        )
        counted = dict(self._events)
        for route in self._declared:
            for event, result in DECLARED:
                counted.setdefault((event, route, result), 0)
        for (event, route, result), count in counted.items():
            events.add_metric([event.name, route, result.value], count)
        for route, counts in list(self._routes.items()):
            if counts.processed:
                events.add_metric([Event.CHAT_MESSAGE_PROCESSED.name, route, Outcome.ALLOWED.value], counts.processed)
        yield events
        requests = CounterMetricFamily(
            "sidecar_requests", "Finished requests; status 0: none was sent.", labels=["route", "method", "status"]
        )
        for route, counts in list(self._routes.items()):
            for (method, status), count in list(counts.requests.items()):
                requests.add_metric([route, method, str(status)], count)
        yield requests
        decisions = CounterMetricFamily(
            "sidecar_rate_limit_decisions", "What each rate limit said.", labels=["limit", "decision"]
        )
        for name, limit in list(self._limits.items()):
            decisions.add_metric([name, "allowed"], limit.allowed)
            decisions.add_metric([name, "refused"], limit.refused)
        yield decisions
        tokens = CounterMetricFamily(
            "sidecar_llm_tokens",
            "Tokens that providers reported.",
            labels=["organization", "provider", "model", "direction"],
        )
        for labels, count in list(self._tokens.items()):
            tokens.add_metric(labels, count)
        yield tokens
        costs = CounterMetricFamily(
            "sidecar_llm_cost_usd",
            "What tokens have cost, at the prices of the policy.",
            labels=["organization", "provider", "model"],
        )
        for models, nano in list(self._costs.items()):
            costs.add_metric(models, nano / NANO)
        yield costs
        yield CounterMetricFamily(
            "sidecar_log_lines_dropped",
            "Log lines lost because the target did not accept them.",
            value=reading.log_dropped,
        )
        yield CounterMetricFamily(
            "sidecar_csp_reports", "Reports of browsers about the Content-Security-Policy.", value=reading.csp_reports
        )
        violations = CounterMetricFamily(
            "sidecar_csp_violations",
            "What browsers reported that the Content-Security-Policy blocked.",
            labels=["directive"],
        )
        for directive, count in reading.csp_violations.items():
            violations.add_metric([directive], count)
        yield violations
        yield CounterMetricFamily(
            "sidecar_undeclared_proxy_requests",
            "Requests of peers that send forwarding headers without being trusted.",
            value=reading.undeclared_proxies,
        )
        yield CounterMetricFamily(
            "sidecar_descriptors_short",
            "Connections of clients that found too few file descriptors left.",
            value=reading.descriptors_short,
        )
        yield from _webhook(reading)
        yield CounterMetricFamily(
            "sidecar_event_sink_failures", "Events that one of the sinks failed to take.", value=self._sink_failures
        )

    def _histograms(self) -> Iterator[Metric]:
        duration = _histogram("sidecar_request_duration_seconds", "From the complete head to the last byte.")
        overhead = _histogram("sidecar_overhead_seconds", "Time in the sidecar, without backend and client.")
        backend = _histogram("sidecar_backend_duration_seconds", "From sending to the head of the backend's answer.")
        for route, counts in list(self._routes.items()):
            if not counts.requests:
                continue  # known from events only
            _add(duration, route, counts.duration)
            _add(overhead, route, counts.overhead)
            _add(backend, route, counts.backend)
        yield from (duration, overhead, backend)


class _Scrape(Collector):
    """The families of one scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _wants_openmetrics(accept: str) -> bool:
    """Return whether the scraper takes OpenMetrics. Prometheus lists what it prefers first, with weights."""
    return any(
        part.split(";")[0].strip().lower() == "application/openmetrics-text" and "q=0," not in f"{part.strip()},"
        for part in accept.split(",")
    )


def _label(value: str) -> str:
    """Return a value that others chose as a label, or `other` when it is no plain short name."""
    return value if _LABEL.fullmatch(value) else OTHER


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, labels=["route"])


def _add(family: HistogramMetricFamily, route: str, histogram: Histogram) -> None:
    found = dict(histogram.exemplars)
    buckets: list[Any] = [
        (bound, count, Exemplar({"trace_id": found[number][0]}, found[number][1], found[number][2]))
        if number in found
        else (bound, count)
        for number, (bound, count) in enumerate(histogram.cumulative())
    ]
    family.add_metric([route], buckets=buckets, sum_value=histogram.total)


def _gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value)


def _webhook(reading: Reading) -> Iterator[Metric]:
    state = reading.webhook
    if state is None:
        return
    events = CounterMetricFamily("sidecar_webhook_events", "Events for the webhook.", labels=["outcome"])
    events.add_metric(["delivered"], state.delivered)
    events.add_metric(["lost"], state.lost)
    yield events
    yield from _gauge("sidecar_webhook_waiting", "Events that the webhook has not taken yet.", state.waiting)


def _state(reading: Reading) -> Iterator[Metric]:
    yield from _gauge("sidecar_active_requests", "Requests that are being served.", reading.active_requests)
    yield from _gauge("sidecar_sessions_active", "Sessions that have not expired.", reading.sessions)
    yield from _gauge("sidecar_bans_active", "Banned addresses.", reading.bans)
    streams = GaugeMetricFamily("sidecar_active_streams", "Answers that stream now.", labels=["kind"])
    for kind, count in reading.active_streams.items():
        if kind in STREAM_KINDS:
            streams.add_metric([kind], count)
    yield streams
    stores = GaugeMetricFamily("sidecar_store_up", "1: the shared store answers.", labels=["store"])
    for store, is_up in reading.stores.items():
        stores.add_metric([_label(store)], float(is_up))
    yield stores


def _policy(reading: Reading) -> Iterator[Metric]:
    policy = reading.policy
    if policy is None:
        return
    yield InfoMetricFamily("sidecar_policy", "The digest of the live policy.", {"digest": policy.digest})
    yield from _gauge(
        "sidecar_policy_last_reload_successful", "0: a newer policy was rejected.", float(policy.successful)
    )
    yield from _gauge("sidecar_policy_last_reload_timestamp_seconds", "When a policy was last read.", policy.at)


def _budgets(reading: Reading, most: int) -> Metric:
    budgets = GaugeMetricFamily(
        "sidecar_budget_remaining_ratio",
        "Which part of a budget is left to an organization: of its subjects, to the one with the least.",
        labels=["budget", "organization"],
    )
    least: dict[tuple[str, str], float] = {}
    for (name, organization), ratio in sorted(reading.budgets.items(), key=lambda pair: pair[1]):
        labels = (name, _label(organization)) if len(least) < most else (name, OTHER)
        least.setdefault(labels, ratio)
    for labels, ratio in least.items():
        budgets.add_metric(labels, ratio)
    return budgets


def _credentials(reading: Reading, most: int) -> Iterator[Metric]:
    expiry = GaugeMetricFamily(
        "sidecar_credential_expiry_timestamp_seconds",
        "When a credential stops working; only those that expire, the soonest first.",
        labels=["organization", "provider", "name"],
    )
    expiring = [(c.expires, c) for c in reading.credentials if c.expires is not None]
    for when, credential in sorted(expiring, key=lambda pair: pair[0])[:most]:
        expiry.add_metric([credential.organization, credential.provider, credential.name], when)
    yield expiry
    sealed = sum(credential.undecryptable for credential in reading.credentials)
    yield from _gauge("sidecar_credentials_undecryptable", "Credentials that no master key opens.", sealed)
