"""The last hour in minutes, counted in batches, with a turned clock."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sidecar.exchange import TokensUsed
from sidecar.telemetry.fanout import Fanout
from sidecar.telemetry.history import KEPT, MOST_NAMES, Minute, TrafficHistory, lines_of, percentiles
from sidecar.vocabulary import Event, Outcome
from tests.support.clock import FakeClock
from tests.support.facts import event, served


def refusal(guard: str = "rate_limits", code: str = "RATE_LIMIT_EXCEEDED", **changes: Any) -> Any:
    return event(Event.RATE_LIMIT_EXCEEDED, detail={"guard": guard, "code": code}, **changes)


def test_an_hour_in_minutes() -> None:
    clock = FakeClock(now=1_800_000_030.0)
    history = TrafficHistory(clock)
    history.take(served())
    history.take(served(status=429, backend=-1.0))
    history.record(refusal())
    history.count()
    clock.advance(60)
    history.take(served(status=502, route="static", usage=TokensUsed("gpt-4o", 100, 20, 3_000_000)))
    hour = history.hour()
    assert len(hour["minutes"]) == 60
    assert [minute["requests"] for minute in hour["minutes"][-3:]] == [0, 2, 1]
    assert hour["minutes"][-1]["at"] == "2027-01-15T08:01:00Z"
    assert hour["total"] == {
        "requests": 3,
        "refused": 1,
        "failed": 1,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_usd": 0.003,
    }
    assert hour["refusals"] == [
        {"guard": "rate_limits", "code": "RATE_LIMIT_EXCEEDED", "outcome": "refused", "count": 1}
    ]
    assert [(row["route"], row["requests"], row["refused"], row["failed"]) for row in hour["routes"]] == [
        ("chat", 2, 1, 0),
        ("static", 1, 0, 1),
    ]
    clock.advance(3600)
    assert history.hour()["total"]["requests"] == 0


def test_events_by_name_and_the_clients_that_are_refused_most() -> None:
    history = TrafficHistory(FakeClock())
    for number in range(3):
        history.record(refusal(client_ip="203.0.113.9"))
        history.take(served(client_ip="203.0.113.9", status=429, backend=-1.0))
        history.take(served(client_ip=f"198.51.100.{number}", status=403, backend=-1.0))
    history.take(served(client_ip="203.0.113.9"))
    history.take(served(client_ip="192.0.2.1", status=404))  # the backend said so
    history.record(event(Event.USAGE_ANOMALY, Outcome.OBSERVED))
    hour = history.hour()
    assert hour["events"] == {"RATE_LIMIT_EXCEEDED": 3, "USAGE_ANOMALY": 1}
    assert hour["clients"][0] == {"client": "203.0.113.9", "refused": 3, "requests": 4}
    assert [row["client"] for row in hour["clients"][1:]] == ["198.51.100.0", "198.51.100.1", "198.51.100.2"]


def test_what_the_backend_did_in_the_last_five_minutes() -> None:
    clock = FakeClock()
    history = TrafficHistory(clock)
    history.record(event(Event.BACKEND_ERROR, Outcome.FAILED))
    history.count()
    clock.advance(301)
    history.take(served())
    assert history.hour()["backend"] == {"answered": 1, "errors": 0}


@pytest.mark.parametrize(
    "fact",
    [
        pytest.param(event(detail={"action": "ban.add", "code": "FORBIDDEN"}), id="a call of the admin API"),
        pytest.param(event(outcome=Outcome.CHANGED, detail={"code": "X"}), id="a message that was changed"),
        pytest.param(event(Event.IP_BANNED, detail={"strikes": 20}), id="a ban, which is no request"),
    ],
)
def test_what_is_no_refusal_of_a_request(fact: Any) -> None:
    history = TrafficHistory(FakeClock())
    history.record(fact)
    assert history.hour()["refusals"] == []
    assert lines_of(history.kept()) == []


def test_names_have_a_bound() -> None:
    history = TrafficHistory(FakeClock())
    for number in range(MOST_NAMES + 10):
        history.take(served(route=f"route-{number}"))
        history.record(refusal(f"guard-{number}"))
    hour = history.hour()
    assert len(hour["routes"]) == MOST_NAMES
    assert hour["routes"][0] == hour["routes"][0] | {"route": "other", "requests": 10}
    assert hour["refusals"][0] == {"guard": "other", "code": "other", "outcome": "refused", "count": 10}


def test_percentiles_are_right_within_fifteen_percent() -> None:
    chance, minute = random.Random(1), Minute(0)
    values = sorted(chance.lognormvariate(-3.0, 1.5) for _ in range(20_000))
    for value in values:
        minute.count(served(backend=value))
    found = percentiles([minute.backend])
    for part in (50, 95, 99):
        exact = values[len(values) * part // 100]
        assert found[f"p{part}"] == pytest.approx(exact, rel=0.15)
    assert percentiles([]) == percentiles([Minute(0).backend]) == {"p50": None, "p95": None, "p99": None}


def test_lines_are_those_of_the_log_in_order_and_have_a_bound() -> None:
    history = TrafficHistory(FakeClock(), most_kept=3)
    for number in range(4):
        history.record(refusal(request_id=f"r-{number}"))
        history.take(served(request_id=f"r-{number}", path="/" + "x" * 2000))
    lines = lines_of(history.kept())
    assert [(line["category"], line["request_id"], len(line["path"])) for line in lines] == [
        ("ACCESS", "r-2", 256),
        ("SECURITY", "r-3", 9),
        ("ACCESS", "r-3", 256),
    ]
    assert KEPT == 5000


def test_what_is_erased_is_not_kept() -> None:
    history = TrafficHistory(FakeClock())
    history.take(served(client_ip="203.0.113.9"))
    history.take(served(client_ip="198.51.100.1"))
    history.forget("ip", "203.0.113.0/24")
    assert [line["client_ip"] for line in lines_of(history.kept())] == ["198.51.100.1"]


def test_a_request_costs_one_append() -> None:
    history = TrafficHistory(FakeClock())
    events = Fanout([history])
    events.follow(history.take)
    events.served(served())
    assert history.hour()["total"]["requests"] == 1  # once: the sink itself is not told of requests
    assert type(history.take).__name__ == "builtin_function_or_method"


def test_the_lines_of_one_request_and_of_one_organization() -> None:
    history = TrafficHistory(FakeClock())
    for organization in ("acme", "other"):
        history.record(refusal(request_id=f"r-{organization}", organization=organization))
        history.take(served(request_id=f"r-{organization}", organization=organization, status=429, backend=-1.0))
    assert [line["category"] for line in history.about("r-acme")] == ["SECURITY", "ACCESS"]
    assert len(history.about("r-acme", "acme")) == 2
    assert history.about("r-acme", "other") == []
    assert [line["request_id"] for line in history.refusals("other")] == ["r-other"]
    assert len(history.refusals()) == 2
