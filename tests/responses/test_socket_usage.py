"""Tokens that messages of a socket report are counted, each report by itself; the messages pass as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.errors import Problems
from sidecar.prices import PriceTable, list_prices
from sidecar.redaction.filters import build_redaction
from sidecar.responses.filters import RouteResponseFilters
from sidecar.responses.socket_usage import LONGEST
from sidecar.responses.token_usage import TokenUsage, UsageCounter
from tests.support.exchanges import Recorder, exchange

KEY = "sk-proj-" + "aB3" * 16 + "T3BlbkFJ" + "cD4" * 16


def done(given: int, made: int, **more: Any) -> bytes:
    usage = {"total_tokens": given + made, "input_tokens": given, "output_tokens": made, **more}
    return json.dumps({"type": "response.done", "response": {"id": "r", "usage": usage}}).encode()


class Socket:
    """A socket of a route that counts tokens, and redacts where `patterns` says so."""

    def __init__(self, target: str = "/v1/realtime?x=1&model=gpt-4o", patterns: tuple[str, ...] = ()) -> None:
        self.counted: list[tuple[str, str, int]] = []
        self.asked = exchange("GET", target)

        def count(_: str, __: str, model: str, direction: str, tokens: int) -> None:
            self.counted.append((model, direction, tokens))

        usage = TokenUsage(UsageCounter("openai", count, lambda *_: None, PriceTable(list_prices())))
        answers = RouteResponseFilters(build_redaction(None, patterns, Problems()), None, (usage,), Recorder())
        self.frames = answers.frames(self.asked)

    def take(self, message: bytes) -> list[tuple[bytes, bool]]:
        assert self.frames is not None
        return self.frames.take(message, binary=False)


def test_each_response_of_a_realtime_socket_is_counted() -> None:
    socket = Socket()
    for message in (b'{"type": "response.text.delta", "delta": "usage"}', done(100, 20), done(150, 30)):
        assert socket.take(message) == [(message, False)]
    assert socket.counted == [
        ("gpt-4o", "input", 100),
        ("gpt-4o", "output", 20),
        ("gpt-4o", "input", 150),
        ("gpt-4o", "output", 30),
    ]
    used = socket.asked.usage
    assert used is not None
    assert (used.model, used.given, used.made) == ("gpt-4o", 250, 50)
    assert used.cost is not None
    assert used.cost > 0


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b'{"delta": "a text of \\"usage\\": {\\"input_tokens\\": 7}"}', id="a-text"),
        pytest.param(b'{"usage": ', id="no-json"),
        pytest.param(b'["usage"]', id="a-list"),
        pytest.param(done(1, 2, padding="x" * LONGEST), id="too-long"),
    ],
)
def test_what_reports_nothing_passes(message: bytes) -> None:
    socket = Socket("/v1/realtime")
    assert socket.take(message) == [(message, False)]
    assert socket.counted == []
    assert socket.asked.usage is None


def test_redaction_goes_on() -> None:
    socket = Socket(patterns=("openai",))
    assert socket.take(f'{{"delta": "{KEY}"}}'.encode()) == [], "it may go on"
    assert socket.take(done(1, 2)) == [], "nothing overtakes it"
    assert socket.frames is not None
    assert socket.frames.rest() == [(b'{"delta": "[redacted]"}', False), (done(1, 2), False)]
    assert socket.counted == [("gpt-4o", "input", 1), ("gpt-4o", "output", 2)]
    assert socket.frames is not None
    assert socket.frames.control(b"beat") == b"beat"
    assert socket.frames.close_reason(KEY.encode()) == b"[redacted]"
    assert socket.frames.rest() == []


def test_without_redaction_the_socket_is_counted_too() -> None:
    socket = Socket()
    assert socket.frames is not None
    assert (socket.frames.control(b"x"), socket.frames.close_reason(b"bye"), socket.frames.rest()) == (b"x", b"bye", [])
