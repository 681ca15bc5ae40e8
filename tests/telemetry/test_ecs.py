"""Lines in the Elastic Common Schema: the names, the closed values, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from sidecar.telemetry.ecs import category, ecs, from_ecs
from sidecar.telemetry.log import Log
from sidecar.telemetry.log_record import dump, event_fields, served_fields
from sidecar.trace_context import TraceContext
from sidecar.vocabulary import Event, Outcome
from tests.support.clock import FakeClock
from tests.support.facts import event, served

TRACE = TraceContext("a" * 32, "b" * 16, "", False, b"")
STAMP = "2026-01-31T12:34:56.789Z"
# https://www.elastic.co/guide/en/ecs/8.11/ecs-category-field-values-reference.html
CATEGORIES = {
    "api", "authentication", "configuration", "database", "driver", "email", "file", "host", "iam",
    "intrusion_detection", "library", "malware", "network", "package", "process", "registry", "session", "threat",
    "vulnerability", "web",
}  # fmt: skip
TYPES = {
    "access", "admin", "allowed", "change", "connection", "creation", "deletion", "denied", "end", "error", "group",
    "indicator", "info", "installation", "protocol", "start", "user",
}  # fmt: skip


def test_a_refusal() -> None:
    assert ecs(event_fields(event(), STAMP)) == {
        "@timestamp": STAMP,
        "log.level": "warning",
        "message": "CORS_BLOCKED refused POST /api/chat 403",
        "ecs.version": "8.11.0",
        "service": {"name": "chat-sidecar", "type": "proxy", "version": __version__},
        "event": {
            "kind": "event",
            "module": "sidecar",
            "dataset": "sidecar.security",
            "category": ["web"],
            "type": ["denied"],
            "outcome": "failure",
            "action": "CORS_BLOCKED",
        },
        "http": {"request": {"id": "req-1", "method": "POST"}, "response": {"status_code": 403}},
        "url": {"path": "/api/chat"},
        "client": {"ip": "203.0.113.9"},
        "organization": {"id": "acme"},
        "sidecar": {
            "category": "SECURITY",
            "outcome": "refused",
            "route": "chat",
            "session": "deadbeef",
            "detail": {"origin": "https://evil.example"},
        },
    }


def test_a_finished_request() -> None:
    made = ecs(served_fields(served(trace=TRACE), STAMP))
    assert made["event"] == {
        "kind": "event",
        "module": "sidecar",
        "dataset": "sidecar.access",
        "category": ["web"],
        "type": ["access"],
        "outcome": "success",
        "duration": 12_300_000,
    }
    assert made["http"] == {
        "request": {"id": "req-1", "method": "POST", "bytes": 150},
        "response": {"status_code": 200, "bytes": 420},
    }
    assert made["trace"] == {"id": "a" * 32}


def test_what_does_not_apply_is_left_out() -> None:
    bare = event(Event.STORE_DEGRADED, Outcome.FAILED, request_id="", client_ip="", organization="", session="",
                 route="", method="", path="", status=0, detail={})  # fmt: skip
    assert ecs(event_fields(bare, STAMP)).keys() == {
        "@timestamp", "log.level", "message", "ecs.version", "service", "event", "sidecar",
    }  # fmt: skip


@pytest.mark.parametrize("kind", Event, ids=lambda kind: kind.name)
def test_values_are_those_that_the_schema_allows(kind: Event) -> None:
    assert category(kind) in CATEGORIES
    for outcome in Outcome:
        about = ecs(event_fields(event(kind, outcome), STAMP))["event"]
        assert set(about["type"]) <= TYPES
        assert about["outcome"] in {"success", "failure", "unknown"}


LINES: dict[str, dict[str, Any]] = {
    "a refusal": event_fields(event(trace_id="c" * 32), STAMP),
    "a request": served_fields(served(), STAMP),
    "a chat message": served_fields(served(inspected=True), STAMP),
    "little": event_fields(event(Event.OVERLOADED, request_id="", path="", status=0, detail={}), STAMP),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_it_comes_back_as_it_was(line: dict[str, Any]) -> None:
    assert from_ecs(json.loads(dump(line, ecs))) == json.loads(dump(line))


def test_a_line_of_ours_is_left_as_it_is() -> None:
    line = event_fields(event(), STAMP)
    assert from_ecs(line) is line


@pytest.mark.parametrize(
    "path", ["/x" * 40_000, "/\udcff", "/\u202e"], ids=["beyond the bound", "a lone surrogate", "a bidi override"]
)
def test_a_hostile_line_stays_one_bounded_line_of_ascii(path: str) -> None:
    line = dump(event_fields(event(path=path, detail={"n": "x" * 20_000}), STAMP), ecs)
    assert line.isascii()
    assert len(line) < 16 * 1024
    assert line.count(b"\n") == 1
    assert json.loads(line)["sidecar"]["detail"]["left_out"] > 20_000


def test_the_log_writes_it_and_a_reload_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    log = Log.to(None, path, FakeClock(), form="ecs")
    log.record(event())
    log.served(served())
    log.redirect(None, path, access=True, form="json")()
    log.served(served())
    assert log.close()
    first, second, third = map(json.loads, path.read_text().splitlines())
    assert [first["event"]["action"], second["event"]["type"], third["category"]] == [
        "CORS_BLOCKED",
        ["access"],
        "ACCESS",
    ]
