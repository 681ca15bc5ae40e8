"""Budgets as clients meet them: a stream that ends at its budget, requests that are refused, what is given back."""

from __future__ import annotations

import gzip
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from tests.support.backends import Serving
from tests.support.endless_model import EndlessModel, endless_model
from tests.support.raw import post as raw_post
from tests.support.redis import redis_server
from tests.support.sidecar import MASTER, ORIGIN, Running, threaded, until

CHAT = {"name": "chat", "match": {"path": "/v1/chat/completions", "methods": ["POST"]}, "protocol": "openai"}
CLAUDE = {"name": "claude", "match": {"path": "/v1/messages", "methods": ["POST"]}, "protocol": "anthropic"}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


def asked(stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **more}


def post(front: Running, body: dict[str, Any], path: str = PATHS["openai"]) -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{front.public}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


@pytest.fixture
def model() -> Iterator[EndlessModel]:
    with endless_model() as running:
        yield running


def budget(limit: str, **more: Any) -> dict[str, Any]:
    return {"name": "daily", "per": "ip", "limit": limit, **more}


def words(text: str) -> int:
    return text.count('"content": " w') + text.count('"text": " w')


@pytest.mark.parametrize("protocol", PATHS)
def test_a_stream_ends_at_its_budget(tmp_path: Path, model: EndlessModel, protocol: str) -> None:
    with threaded(tmp_path, model.url, routes=[CHAT, CLAUDE], budgets=[budget("2000 tokens")]) as front:
        more = {"max_tokens": 100_000} if protocol == "anthropic" else {}
        body = asked(**more) | ({"model": "claude-sonnet-4-5"} if more else {})
        status, _, text = post(front, body, PATHS[protocol])
        assert status == 200
        last = text.rstrip().split("\n\n")[-1]
        assert "The budget is used up" in last
        assert last.startswith("event: error" if protocol == "anthropic" else "data: ")
        (made,) = model.made
        assert made.done.wait(10)
        assert made.left, "the backend's work goes on"
        said = front.logged(event="BUDGET_EXCEEDED", outcome="refused")
        assert said["detail"]["budget"] == "daily"
        given = said["detail"]["input"]
        # Anthropic reports one token of output before there is any.
        assert words(text) + given == (1999 if protocol == "anthropic" else 2000)
        refused, headers, told = post(front, body, PATHS[protocol])
        assert refused == 429
        assert "The budget is used up" in told
        assert int(headers["Retry-After"]) > 80_000
        assert headers["x-should-retry"] == "false"
        line = front.logged(event="CHAT_MESSAGE_PROCESSED")
        assert line["detail"]["output_tokens"] == 2000 - given
        assert line["detail"]["cost_usd"] > 0
        metered = front.metric("sidecar_llm_tokens_total", direction="output")
        assert metered == 2000 - given


@pytest.mark.parametrize("pause", [0.0, 0.002], ids=["as-fast-as-it-can", "with-pauses"])
def test_a_stream_ends_at_its_budget_over_redis(tmp_path: Path, pause: float) -> None:
    """The store is asked ahead, and where its answer is not there the client's next bytes wait for it."""
    sections: dict[str, Any] = {"routes": [CHAT], "budgets": [budget("1500 tokens", counts="output")]}
    with (
        redis_server() as redis,
        endless_model(pause=pause) as model,
        threaded(tmp_path, model.url, {"REDIS_URL": redis.url}, **sections) as front,
    ):
        status, _, text = post(front, asked())
        assert (status, words(text)) == (200, 1500)
        assert "The budget is used up" in text.rstrip().split("\n\n")[-1]
        assert model.made[0].done.wait(10)
        assert model.made[0].left
        assert post(front, asked())[0] == 429
        (account,) = (name for name in redis.cli("KEYS", "sidecar:b:*").split() if not name.endswith(":holds"))
        assert redis.cli("HMGET", account, "spent", "held").split() == ["1500", "0"]


def test_a_compressed_stream_ends_too(tmp_path: Path) -> None:
    event = b'data: {"choices": [{"delta": {"content": " word"}}]}\n\n'
    body = gzip.compress(event * 5000)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    with (
        Serving(lambda _: head + body) as backend,
        threaded(tmp_path, backend.url, routes=[CHAT], budgets=[budget("1500 tokens", counts="output")]) as front,
    ):
        status, headers, text = post(front, asked())
        assert (status, headers.get("Content-Encoding"), text.count(" word")) == (200, None, 1500)
        assert "The budget is used up" in text


def test_other_answers_break_off(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    with (
        Serving(lambda _: head + b"four" * 50_000) as backend,
        threaded(tmp_path, backend.url, routes=[CHAT], budgets=[budget("1500 tokens", counts="output")]) as front,
    ):
        with pytest.raises(http.client.IncompleteRead) as broken:
            post(front, asked())
        assert len(broken.value.partial) < 30_000


def test_what_was_not_used_is_given_back(tmp_path: Path, model: EndlessModel) -> None:
    model.most = 20
    sections: dict[str, Any] = {"routes": [CHAT], "budgets": [budget("1000 tokens", header=True)]}
    with threaded(tmp_path, model.url, **sections) as front:
        for used in (0, 29, 58):
            status, headers, _ = post(front, asked(stream=False, max_tokens=500))
            assert status == 200
            reserved = 500 + len(json.dumps(asked(stream=False, max_tokens=500))) // 4 + 1
            assert headers["X-Sidecar-Budget-Remaining"] == f'"daily";r={1000 - used - reserved};u="tokens"'
        assert front.metric("sidecar_budget_remaining_ratio", budget="daily") == pytest.approx(1 - 3 * 29 / 1000)
        assert front.metric("sidecar_llm_cost_usd_total", model="gpt-4o-mini") == pytest.approx(
            3 * (9 * 0.15 + 20 * 0.6) / 1e6
        )


def test_an_erased_client_has_used_nothing(
    tmp_path: Path, model: EndlessModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JWT_SECRET", MASTER)
    for name in ("ENCRYPTION_KEY", "JWT_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)
    with threaded(tmp_path, model.url, {"JWT_SECRET": MASTER}, routes=[CHAT], budgets=[budget("1000 tokens")]) as front:
        assert [post(front, asked())[0] for _ in range(2)] == [200, 429]
        management = f"http://127.0.0.1:{front.management}"
        assert main(["erase", "--ip", "127.0.0.1", "--management", management, "--json"]) == 0
        erased = json.loads(capsys.readouterr().out.splitlines()[-1])["erased"]
        assert erased["windows"] == 2, "one of a limit, one of a budget"
        assert post(front, asked())[0] == 200


def test_the_connection_serves_on(tmp_path: Path, model: EndlessModel) -> None:
    with (
        threaded(tmp_path, model.url, routes=[CHAT], budgets=[budget("1500 tokens", header=True)]) as front,
        front.connect() as client,
    ):
        raw = raw_post(PATHS["openai"], json.dumps(asked()).encode(), f"Origin: {ORIGIN}")
        ended = client.send(raw).response()
        assert b"The budget is used up" in ended.body
        assert b"X-Sidecar-Budget-Remaining" in (ended.get(b"access-control-expose-headers") or b"")
        refused = client.send(raw).response()
        assert (refused.status, refused.get(b"x-sidecar-budget-remaining")) == (429, b'"daily";r=0;u="tokens"')


def test_a_failing_backend_costs_nothing(tmp_path: Path) -> None:
    with threaded(tmp_path, "http://127.0.0.1:9", routes=[CHAT], budgets=[budget("1000 tokens")]) as front:
        for _ in range(4):
            assert post(front, asked(max_tokens=900))[0] == 502
        assert front.metric("sidecar_budget_remaining_ratio", budget="daily") == 1


@pytest.mark.parametrize("on_end", ["finish", "warn"])
def test_a_stream_may_finish(tmp_path: Path, model: EndlessModel, on_end: str) -> None:
    model.most = 2500
    with threaded(tmp_path, model.url, routes=[CHAT], budgets=[budget("2000 tokens", on_end=on_end)]) as front:
        status, _, text = post(front, asked())
        assert (status, words(text)) == (200, 2500)
        assert text.endswith("data: [DONE]\n\n")
        assert post(front, asked())[0] == (429 if on_end == "finish" else 200)
        outcome = "refused" if on_end == "finish" else "allowed"
        assert front.logged(event="BUDGET_EXCEEDED")["outcome"] == outcome


def test_observed_budgets_refuse_nothing(tmp_path: Path, model: EndlessModel) -> None:
    model.most = 2500
    sections: dict[str, Any] = {"routes": [CHAT], "budgets": [budget("2000 tokens")], "observe": ["budgets"]}
    with threaded(tmp_path, model.url, **sections) as front:
        for _ in range(2):
            status, _, text = post(front, asked())
            assert (status, words(text)) == (200, 2500)
        assert front.logged(event="BUDGET_EXCEEDED")["outcome"] == "observed"


def test_money_and_a_model_without_a_price(tmp_path: Path, model: EndlessModel) -> None:
    with threaded(tmp_path, model.url, routes=[CHAT], budgets=[budget("0.001 USD")]) as front:
        status, _, text = post(front, asked())
        assert status == 200
        assert "The budget is used up" in text
        # 0.001 USD are 1666 tokens of output at 0.60 USD a million, less what the question cost.
        assert 1640 < words(text) < 1667
        status, _, told = post(front, asked() | {"model": "house-brand"})
        assert (status, json.loads(told)["error"]["message"]) == (403, "This model has no price")
        assert front.logged(event="BUDGET_EXCEEDED", status=403)["detail"]["model"] == "house-brand"


def test_a_client_that_leaves_has_used_what_was_made(tmp_path: Path, model: EndlessModel) -> None:
    with threaded(tmp_path, model.url, routes=[CHAT], budgets=[budget("100k tokens")]) as front:
        request = urllib.request.Request(
            f"http://127.0.0.1:{front.public}{PATHS['openai']}",
            json.dumps(asked()).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            heard = sum(1 for _ in zip(reply, range(1200), strict=False)) // 2
        until(lambda: front.metric("sidecar_active_requests") == 0, "the end of the request")
        used = (1 - front.metric("sidecar_budget_remaining_ratio", budget="daily")) * 100_000
        made = model.made[0]
        assert made.done.wait(10)
        assert heard <= used <= made.tokens + 40
