"""What an operator asks of a running sidecar: why a request was refused, maintenance, draining."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.__main__ import main
from tests.support.backends import Serving
from tests.support.raw import get, post
from tests.support.sidecar import MASTER, Running, threaded, until

FOREIGN = "https://elsewhere.example"


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("JWT_SECRET", MASTER)
    with Serving() as backend, threaded(tmp_path, backend.url, {"JWT_SECRET": MASTER}) as made:
        yield made


def refused_id(running: Running) -> str:
    with running.connect() as client:
        answer = client.send(post("/api/chat", b"{}", f"Origin: {FOREIGN}")).response()
    assert answer.status == 403
    return json.loads(answer.body)["request_id"]


def management(running: Running) -> list[str]:
    return ["--management", f"http://127.0.0.1:{running.management}"]


@pytest.mark.parametrize("source", ["the running sidecar", "its log"])
def test_why_names_the_guard_and_the_line(running, capsys, source) -> None:
    request_id = refused_id(running)
    running.logged(request_id=request_id, event="CORS_BLOCKED")
    where = ["--log", str(running.log)] if source == "its log" else management(running)
    assert main(["why", request_id, *where]) == 0
    refused, by, policy, change = capsys.readouterr().out.splitlines()
    assert "403 CORS_BLOCKED" in refused
    assert "POST /api/chat" in refused
    assert by.startswith("by       cors:")
    assert FOREIGN in by
    line = next(
        number for number, text in enumerate(running.policy.read_text().splitlines(), 1) if "allowed_origins" in text
    )
    assert f"{running.policy}:{line} (digest {running.app.live.current.digest})" in policy
    assert "cors.allowed_origins" in change


def test_an_unknown_request_has_no_reason(running, capsys) -> None:
    assert main(["why", "no-such-request", *management(running)]) == 1
    assert "no refusal of no-such-request" in capsys.readouterr().err


def test_maintenance_refuses_with_the_message_and_serves_again(running, capsys) -> None:
    assert main(["maintenance", "on", "--message", "Back at noon", "--retry-after", "2m", *management(running)]) == 0
    with running.connect() as client:
        answer = client.send(get("/")).response()
    assert answer.status == 503
    assert answer.get(b"retry-after") == b"120"
    assert json.loads(answer.body) | {"request_id": ""} == {
        "error": "Back at noon",
        "code": "MAINTENANCE",
        "request_id": "",
    }
    assert running.fetch("/readyz")[0] == 200, "the pod stays in the Service: its clients get the message"
    assert main(["maintenance", "off", *management(running)]) == 0
    with running.connect() as client:
        assert client.send(get("/")).response().status == 200
    for state in ("on", "off"):
        running.logged(event="MAINTENANCE", outcome="allowed", detail={"state": state})


def test_drain_makes_the_process_not_ready_and_goes_on_serving(running) -> None:
    assert main(["drain", *management(running)]) == 0
    assert running.fetch("/readyz")[0] == 503
    with running.connect() as client:
        assert client.send(get("/")).response().status == 200


def test_readiness_includes_the_backend_where_the_policy_says_so(tmp_path) -> None:
    ready = {"backend": "/health", "cache": "100ms"}
    with Serving() as backend, threaded(tmp_path, backend.url, ready=ready) as running:
        assert running.fetch("/readyz")[0] == 200
        backend.reply = lambda _: b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        until(lambda: running.fetch("/readyz")[0] == 503, "the backend's state to be noticed")
        assert json.loads(running.fetch("/readyz")[1]) == {
            "status": "not ready",
            "reasons": ["backend: GET /health: status 503"],
        }
        assert running.fetch("/livez")[0] == 200, "a restart would not bring the backend back"
        running.logged(event="BACKEND_ERROR", detail={"probe": "/health"})


def test_why_and_replay_read_a_log_in_the_elastic_common_schema(tmp_path, capsys) -> None:
    with Serving() as backend, threaded(tmp_path, backend.url, events={"format": "ecs"}) as running:
        request_id = refused_id(running)
        until(lambda: request_id in running.log.read_text(), "the refusal to be logged")
        line = next(json.loads(each) for each in running.log.read_text().splitlines() if request_id in each)
        assert line["event"] | {"kind": ""} == {
            "kind": "",
            "module": "sidecar",
            "dataset": "sidecar.security",
            "category": ["web"],
            "type": ["denied"],
            "outcome": "failure",
            "action": "CORS_BLOCKED",
        }
        assert main(["why", request_id, "--log", str(running.log)]) == 0
        assert "403 CORS_BLOCKED" in capsys.readouterr().out
        assert main(["replay", str(running.log), "--policy", str(running.policy)]) == 0
        assert "1 requests; refused: 1 by what happened" in capsys.readouterr().out
