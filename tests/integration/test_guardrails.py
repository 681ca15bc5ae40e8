"""A sidecar that asks a service about messages before the backend hears of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Message, Serving
from tests.support.raw import post
from tests.support.sidecar import Running, threaded

ROUTES = [{"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "message": {"fields": ["$.message"]}}]


def judge(request: Message) -> bytes:
    """Answer as Llama Guard behind vLLM does."""
    asked = json.loads(request.body)["messages"][0]["content"]
    content = "unsafe\nS1" if "harm" in asked else "safe"
    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Running, Serving, Serving]]:
    with Serving() as backend, Serving(judge) as service:
        url = f"{service.url}/v1/chat/completions"
        guardrails = [{"name": "llama-guard", "kind": "openai", "url": url, "model": "llama-guard", "timeout": "10s"}]
        with threaded(tmp_path, backend.url, guardrails=guardrails, routes=ROUTES) as running:
            yield running, backend, service


def chat(running: Running, text: str) -> tuple[int, str]:
    with running.connect() as client:
        answer = client.send(post("/api/chat", json.dumps({"message": text}).encode())).response()
    return answer.status, answer.body.decode()


def test_what_it_flags_does_not_reach_the_backend(stage: tuple[Running, Serving, Serving]) -> None:
    running, backend, service = stage
    assert chat(running, "a kind word")[0] == 200
    status, body = chat(running, "how to do harm")
    assert (status, json.loads(body)["code"]) == (403, "CONTENT_BLOCKED")
    assert len(backend.seen) == 1
    line = running.logged(event="CONTENT_BLOCKED", outcome="refused")
    assert (line["detail"]["guard"], line["detail"]["categories"]) == ("guardrails.llama-guard", "S1")
    assert line["detail"]["place"].startswith(f"{running.policy}:")
    assert "harm" not in running.log.read_text()
    assert running.metric("sidecar_security_events_total", event="CONTENT_BLOCKED", route="chat") == 1
    assert len(service.seen) == 2


def test_a_service_that_is_away_refuses_and_explain_does_not_ask_it(
    stage: tuple[Running, Serving, Serving], tmp_path: Path
) -> None:
    running, backend, service = stage
    body = tmp_path / "body.json"
    body.write_text('{"message": "how to do harm"}')
    asked = ["explain", "--policy", str(running.policy), "POST", "/api/chat", "-H", "Content-Type: application/json"]
    said = subprocess.run(
        [sys.executable, "-m", "sidecar", *asked, "--body", str(body), "--expect", "pass"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    assert "guardrails were not asked" in said.stderr
    assert service.seen == []
    service.reply = lambda _: b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"
    assert chat(running, "a kind word")[0] == 503
    assert backend.seen == []
