"""Makes the text of a scrape: Prometheus' or OpenMetrics' exposition of what was counted.

Imported at the first scrape: the library takes a MiB, which a sidecar that nothing scrapes does not need.
"""

from __future__ import annotations

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

from sidecar.prices import NANO
from sidecar.telemetry.counters import OTHER, Counted, Histogram, label
from sidecar.telemetry.gauges import Reading
from sidecar.vocabulary import Event, Outcome

STREAM_KINDS: Final = frozenset({"sse", "websocket", "chunked", "egress"})


def exposition(counted: Counted, reading: Reading, accept: str) -> tuple[bytes, str]:
    """Return the exposition, in the format that `accept` asks for, and its content type. Takes milliseconds."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(_families(counted, reading)))
    ProcessCollector(registry=registry)
    if _wants_openmetrics(accept):
        return cast(bytes, generate_openmetrics(registry)), OPENMETRICS  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _families(counted: Counted, reading: Reading) -> Iterator[Metric]:
    yield from _counters(counted, reading)
    yield from _histograms(counted)
    yield from _state(reading)
    yield from _policy(reading)
    yield from _credentials(reading, counted.most_credentials)
    yield _budgets(reading, counted.most_series)
    yield InfoMetricFamily("sidecar_build", "The version of this process.", {"version": counted.version})


def _counters(counted: Counted, reading: Reading) -> Iterator[Metric]:
    events = CounterMetricFamily("sidecar_security_events", "Recorded events.", labels=["event", "route", "outcome"])
    for (event, route, result), count in counted.events.items():
        events.add_metric([event.name, route, result.value], count)
    for route, counts in counted.routes:
        if counts.processed:
            events.add_metric([Event.CHAT_MESSAGE_PROCESSED.name, route, Outcome.ALLOWED.value], counts.processed)
    yield events
    requests = CounterMetricFamily(
        "sidecar_requests", "Finished requests; status 0: none was sent.", labels=["route", "method", "status"]
    )
    for route, counts in counted.routes:
        for (method, status), count in list(counts.requests.items()):
            requests.add_metric([route, method, str(status)], count)
    yield requests
    decisions = CounterMetricFamily(
        "sidecar_rate_limit_decisions", "What each rate limit said.", labels=["limit", "decision"]
    )
    for name, limit in counted.limits:
        decisions.add_metric([name, "allowed"], limit.allowed)
        decisions.add_metric([name, "refused"], limit.refused)
    yield decisions
    tokens = CounterMetricFamily(
        "sidecar_llm_tokens",
        "Tokens that providers reported.",
        labels=["organization", "provider", "model", "direction"],
    )
    for labels, count in counted.tokens:
        tokens.add_metric(labels, count)
    yield tokens
    costs = CounterMetricFamily(
        "sidecar_llm_cost_usd",
        "What tokens have cost, at the prices of the policy.",
        labels=["organization", "provider", "model"],
    )
    for models, nano in counted.costs:
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
        "sidecar_event_sink_failures", "Events that one of the sinks failed to take.", value=counted.sink_failures
    )


def _histograms(counted: Counted) -> Iterator[Metric]:
    duration = _histogram("sidecar_request_duration_seconds", "From the complete head to the last byte.")
    overhead = _histogram("sidecar_overhead_seconds", "Time in the sidecar, without backend and client.")
    backend = _histogram("sidecar_backend_duration_seconds", "From sending to the head of the backend's answer.")
    for route, counts in counted.routes:
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
        stores.add_metric([label(store)], float(is_up))
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
        labels = (name, label(organization)) if len(least) < most else (name, OTHER)
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
