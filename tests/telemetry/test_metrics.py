"""Metrics: the contract's names and labels, exact numbers, bounds, and promtool's opinion."""

from __future__ import annotations

import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.limit import Ask, Limit, LimitReport, Per, Take
from sidecar.telemetry.gauges import CredentialState, Gauges, PolicyState, WebhookState
from sidecar.telemetry.metrics import DECLARED, Metrics
from sidecar.vocabulary import Event, Outcome
from tests.support.facts import event, served

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
CONTRACT = {
    "sidecar_security_events_total": {"event", "route", "outcome"},
    "sidecar_requests_total": {"route", "method", "status"},
    "sidecar_request_duration_seconds": {"route"},
    "sidecar_overhead_seconds": {"route"},
    "sidecar_backend_duration_seconds": {"route"},
    "sidecar_active_requests": set(),
    "sidecar_active_streams": {"kind"},
    "sidecar_rate_limit_decisions_total": {"limit", "decision"},
    "sidecar_store_up": {"store"},
    "sidecar_sessions_active": set(),
    "sidecar_bans_active": set(),
    "sidecar_policy_info": {"digest"},
    "sidecar_policy_last_reload_successful": set(),
    "sidecar_policy_last_reload_timestamp_seconds": set(),
    "sidecar_credential_expiry_timestamp_seconds": {"organization", "provider", "name"},
    "sidecar_llm_tokens_total": {"organization", "provider", "model", "direction"},
    "sidecar_build_info": {"version"},
    "sidecar_budget_remaining_ratio": {"budget", "organization"},
    "sidecar_llm_cost_usd_total": {"organization", "provider", "model"},
}


def report(*allowed: bool) -> LimitReport:
    asks = tuple(Ask(Limit(f"limit-{n}", Per.IP, 60, 60.0), "203.0.113.9") for n in range(len(allowed)))
    return LimitReport(asks, tuple(Take(yes, 0, 0.0, 1.0) for yes in allowed), 0.0)


def full() -> Metrics:
    metrics = Metrics("1.2.3")
    metrics.watch(
        Gauges(
            active_requests=lambda: 3,
            active_streams=lambda: {"sse": 2, "websocket": 1, "made up": 9},
            sessions=lambda: 5,
            csp_violations=lambda: {"img-src": 2},
            bans=lambda: 1,
            stores=lambda: {"redis": False},
            policy=lambda: PolicyState("ab12", False, 1_800_000_000.0),
            credentials=lambda: [
                CredentialState("acme", "openai", "main", 1_900_000_000.0),
                CredentialState("acme", "stripe", "for good", None, undecryptable=True),
            ],
            log_dropped=lambda: 7,
            budgets=lambda: {("day", "acme"): 0.25, ("day", 'x"}'): 0.5, ("day", "\n"): 0.1},
            webhook=lambda: WebhookState(3, 1, 2),
        )
    )
    metrics.served(served(inspected=True))
    metrics.served(served(inspected=True))
    metrics.served(served(route="", method="BREW", status=0, backend=-1.0, duration=400.0))
    metrics.record(event())
    metrics.decided(report(True, True))
    metrics.decided(report(True, False))
    metrics.tokens("acme", "openai", "gpt-5", "input", 12)
    metrics.tokens("acme", "openai", "gpt-5", "input", 30)
    metrics.cost("acme", "openai", "gpt-5", 1_500_000_000)
    metrics.cost("acme", "openai", "gpt-5", 250_000_000)
    return metrics


def scrape(metrics: Metrics, accept: str = "") -> str:
    return metrics.render(accept, metrics.read())[0].decode()


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(scrape(metrics))
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def test_every_metric_of_the_contract_is_there_with_exactly_its_labels():
    found: dict[str, set[str]] = {}
    for full_name, labels in samples(full()):
        name = full_name
        for end in ("_bucket", "_sum", "_count"):
            if name.removesuffix(end) in CONTRACT:
                name = name.removesuffix(end)
        found.setdefault(name, set()).update(key for key, _ in labels if key != "le")
    assert {name: found.get(name) for name in CONTRACT} == CONTRACT


NUMBERS = [
    (1.75, "sidecar_llm_cost_usd_total", {"organization": "acme", "provider": "openai", "model": "gpt-5"}),
    (0.25, "sidecar_budget_remaining_ratio", {"budget": "day", "organization": "acme"}),
    (0.1, "sidecar_budget_remaining_ratio", {"budget": "day", "organization": "other"}),
    (2, "sidecar_requests_total", {"route": "chat", "method": "POST", "status": "200"}),
    (1, "sidecar_requests_total", {"route": "unmatched", "method": "other", "status": "0"}),
    (2, "sidecar_security_events_total", {"event": "CHAT_MESSAGE_PROCESSED", "route": "chat", "outcome": "allowed"}),
    (1, "sidecar_security_events_total", {"event": "CORS_BLOCKED", "route": "chat", "outcome": "refused"}),
    (0, "sidecar_request_duration_seconds_bucket", {"route": "chat", "le": "0.01"}),
    (2, "sidecar_request_duration_seconds_bucket", {"route": "chat", "le": "0.025"}),
    (2, "sidecar_request_duration_seconds_bucket", {"route": "chat", "le": "+Inf"}),
    (0, "sidecar_request_duration_seconds_bucket", {"route": "unmatched", "le": "300.0"}),
    (1, "sidecar_request_duration_seconds_bucket", {"route": "unmatched", "le": "+Inf"}),
    (0.0246, "sidecar_request_duration_seconds_sum", {"route": "chat"}),
    (2, "sidecar_overhead_seconds_bucket", {"route": "chat", "le": "0.0001"}),
    (2, "sidecar_backend_duration_seconds_count", {"route": "chat"}),
    (0, "sidecar_backend_duration_seconds_count", {"route": "unmatched"}),
    (3, "sidecar_active_requests", {}),
    (2, "sidecar_active_streams", {"kind": "sse"}),
    (None, "sidecar_active_streams", {"kind": "made up"}),
    (1, "sidecar_rate_limit_decisions_total", {"limit": "limit-0", "decision": "allowed"}),
    (0, "sidecar_rate_limit_decisions_total", {"limit": "limit-0", "decision": "refused"}),
    (1, "sidecar_rate_limit_decisions_total", {"limit": "limit-1", "decision": "allowed"}),
    (1, "sidecar_rate_limit_decisions_total", {"limit": "limit-1", "decision": "refused"}),
    (0, "sidecar_store_up", {"store": "redis"}),
    (0, "sidecar_policy_last_reload_successful", {}),
    (1_800_000_000, "sidecar_policy_last_reload_timestamp_seconds", {}),
    (1, "sidecar_policy_info", {"digest": "ab12"}),
    (
        1_900_000_000,
        "sidecar_credential_expiry_timestamp_seconds",
        {"organization": "acme", "provider": "openai", "name": "main"},
    ),
    (1, "sidecar_credentials_undecryptable", {}),
    (
        42,
        "sidecar_llm_tokens_total",
        {"organization": "acme", "provider": "openai", "model": "gpt-5", "direction": "input"},
    ),
    (7, "sidecar_log_lines_dropped_total", {}),
    (3, "sidecar_webhook_events_total", {"outcome": "delivered"}),
    (1, "sidecar_webhook_events_total", {"outcome": "lost"}),
    (2, "sidecar_webhook_waiting", {}),
    (1, "sidecar_build_info", {"version": "1.2.3"}),
]


@pytest.mark.parametrize(("number", "name", "labels"), NUMBERS, ids=lambda v: str(v)[:60])
def test_the_numbers_are_right(number, name, labels):
    assert value(full(), name, **labels) == (pytest.approx(number) if number is not None else None)


def test_events_that_alerts_wait_for_are_zero_before_the_first_one():
    metrics = Metrics("0")
    metrics.declare(["chat", "", "chat"])
    for route in ("chat", "unmatched"):
        for event_, outcome in DECLARED:
            labels = {"event": event_.name, "route": route, "outcome": outcome.value}
            assert value(metrics, "sidecar_security_events_total", **labels) == 0
    metrics.record(event(Event.CORS_BLOCKED, Outcome.REFUSED))
    assert value(metrics, "sidecar_security_events_total", event="CORS_BLOCKED", route="chat", outcome="refused") == 1
    metrics.declare(["other-policy"])
    assert (
        value(metrics, "sidecar_security_events_total", event="CSRF_BLOCKED", route="chat", outcome="refused") is None
    )
    assert value(metrics, "sidecar_security_events_total", event="CORS_BLOCKED", route="chat", outcome="refused") == 1


def test_the_routes_of_a_policy_are_declared_within_the_bound():
    metrics = Metrics("0", most_routes=3)
    metrics.declare(f"route-{number}" for number in range(10))
    routes = {dict(labels)["route"] for name, labels in samples(metrics) if name == "sidecar_security_events_total"}
    assert routes == {"route-0", "route-1", "route-2"}


def test_process_metrics_come_along():
    names = {name for name, _ in samples(Metrics("0"))}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names


ACCEPTS = {
    "prometheus 3": (OPENMETRICS, True),
    "openmetrics alone": ("application/openmetrics-text", True),
    "a browser": ("text/html,*/*;q=0.8", False),
    "nothing": ("", False),
    "openmetrics refused": ("application/openmetrics-text;q=0,text/plain", False),
    "a version from the future": ("application/openmetrics-text;version=99.x\u00e9", True),
}


@pytest.mark.parametrize(("accept", "is_openmetrics"), ACCEPTS.values(), ids=ACCEPTS)
def test_openmetrics_for_those_who_ask(accept, is_openmetrics):
    metrics = full()
    body, kind = metrics.render(accept, metrics.read())
    assert kind.startswith(
        "application/openmetrics-text; version=1.0.0" if is_openmetrics else "text/plain; version=0.0.4"
    )
    assert body.endswith(b"# EOF\n") is is_openmetrics
    assert list((parse_openmetrics if is_openmetrics else parse_text)(body.decode()))


def test_promtool_finds_nothing_to_say(promtool):
    said = subprocess.run(
        [promtool, "check", "metrics"], input=scrape(full()), text=True, capture_output=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_names_that_clients_choose_are_bounded():
    metrics = Metrics("0", most_routes=3, most_limits=2, most_token_series=2)
    for n in range(50):
        metrics.served(served(route=f"route-{n}"))
        metrics.record(event(Event.CORS_BLOCKED, Outcome.REFUSED, route=f"route-{n}"))
        metrics.decided(LimitReport((Ask(Limit(f"l-{n}", Per.IP, 1, 1.0), "x"),), (Take(True, 0, 0.0, 1.0),), 0.0))
        metrics.tokens("acme", "openai", f"model-{n}", "output", 1)
    assert value(metrics, "sidecar_requests_total", route="other", method="POST", status="200") == 47
    assert value(metrics, "sidecar_security_events_total", event="CORS_BLOCKED", route="other", outcome="refused") == 47
    assert value(metrics, "sidecar_rate_limit_decisions_total", limit="other", decision="allowed") == 48
    other = {"organization": "other", "provider": "other", "model": "other", "direction": "output"}
    assert value(metrics, "sidecar_llm_tokens_total", **other) == 48
    assert len(samples(metrics)) < 250


def test_a_label_that_is_no_plain_name_is_other():
    metrics = Metrics("0")
    metrics.tokens("acme", "openai", 'x"}\n evil 1', "input", 1)
    metrics.tokens("acme", "openai", "m", "sideways", 1)
    metrics.tokens("acme", "openai", "m", "input", -5)
    labels = {"organization": "acme", "provider": "openai", "model": "other", "direction": "input"}
    assert value(metrics, "sidecar_llm_tokens_total", **labels) == 1
    assert sum(name == "sidecar_llm_tokens_total" for name, _ in samples(metrics)) == 1


def test_a_part_that_cannot_answer_leaves_out_its_own_gauge_and_is_told_once(caplog):
    def away():
        raise ConnectionError

    metrics = Metrics("0")
    metrics.watch(Gauges(active_requests=away, active_streams=away, stores=away, credentials=away, sessions=lambda: 4))
    assert value(metrics, "sidecar_active_requests") is None
    assert value(metrics, "sidecar_sessions_active") == 4
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].endswith("away is not known (ConnectionError)")
