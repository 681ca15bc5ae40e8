"""Tokens are counted as reported, once an answer, whatever its shape and its pieces; its bytes pass untouched."""

from __future__ import annotations

import gc
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.prices import PriceTable
from sidecar.responses.token_usage import WHOLE, TokenUsage, UsageCounter
from tests.support.exchanges import exchange

JSON = b"application/json; charset=utf-8"
SSE = b"text/event-stream"


@dataclass
class Answer:
    """An answer's head."""

    status: int = 200
    index: dict[bytes, bytes] = field(default_factory=dict)

    def values(self, name: bytes) -> list[bytes]:
        return [self.index[name]] if name in self.index else []


def counted(kind: bytes, *pieces: bytes, finish: bool = True, **head: Any) -> dict[str, Any]:
    """Return what is counted for an answer: {} or model, input, output."""
    told: dict[str, Any] = {}

    def count(organization: str, provider: str, model: str, direction: str, tokens: int) -> None:
        assert (organization, provider) == ("acme", "openai")
        assert direction not in told, "counted twice"
        told.update({"model": model, direction: tokens})

    asked = exchange("POST", "/v1/chat/completions")
    asked.organization = "acme"
    coding = head.pop("coding", b"")
    answer = Answer(index={b"content-type": kind, **({b"content-encoding": coding} if coding else {})}, **head)
    chosen = TokenUsage(UsageCounter("openai", count, lambda *_: None, PriceTable())).for_answer(asked, answer)
    if chosen is not None:
        assert b"".join(map(chosen.feed, pieces)) == b"".join(pieces)
        if finish:
            assert chosen.finish() == b""
    for release in asked.releases:
        release()
    return told


def said(value: Any) -> bytes:
    return json.dumps(value).encode()


def events(*values: Any, end: str = "\n\n") -> bytes:
    return b"".join(b"data: " + said(value) + end.encode() for value in values)


CHAT = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
ANTHROPIC = {"input_tokens": 25, "output_tokens": 1, "cache_read_input_tokens": 900}
GOOGLE = {"promptTokenCount": 4, "candidatesTokenCount": 6}

WHOLE_ANSWERS = {
    "openai chat": ({"model": "gpt", "choices": [], "usage": CHAT}, ("gpt", 9, 12)),
    "openai responses": ({"model": "gpt", "usage": {"input_tokens": 3, "output_tokens": 5}}, ("gpt", 3, 5)),
    "embeddings": ({"data": [], "model": "ada", "usage": {"prompt_tokens": 8, "total_tokens": 8}}, ("ada", 8, None)),
    "anthropic": ({"model": "claude", "usage": {**ANTHROPIC, "output_tokens": 7}}, ("claude", 25, 7)),
    "google": ({"candidates": [], "usageMetadata": GOOGLE, "modelVersion": "gemini"}, ("gemini", 4, 6)),
    "google's streamed array": (
        [{"usageMetadata": {"promptTokenCount": 4}}, {"usageMetadata": GOOGLE, "modelVersion": "gemini"}],
        ("gemini", 4, 6),
    ),
    "none reported": ({"model": "gpt", "usage": None}, None),
    "no numbers": ({"model": "gpt", "usage": {"prompt_tokens": "9", "completion_tokens": -1}}, None),
    "a truth value": ({"model": "gpt", "usage": {"prompt_tokens": True}}, None),
    "a plain answer": ({"reply": 'the "usage": {"prompt_tokens": 5} of it'}, None),
    "a model that is no name": ({"model": ["x"], "usage": CHAT}, ("", 9, 12)),
}


def expected(told: tuple[str, int | None, int | None] | None) -> dict[str, Any]:
    if told is None:
        return {}
    model, given, made = told
    numbers = {"input": given, "output": made}
    return {"model": model, **{name: number for name, number in numbers.items() if number}}


@pytest.mark.parametrize("name", WHOLE_ANSWERS)
def test_a_json_answer(name: str):
    value, told = WHOLE_ANSWERS[name]
    assert counted(JSON, said(value)) == expected(told)


STREAMS = {
    "openai chat, asked for": (
        events({"model": "gpt", "choices": [], "usage": None}, {"model": "gpt", "choices": [], "usage": CHAT})
        + b"data: [DONE]\n\n",
        ("gpt", 9, 12),
    ),
    "openai chat, not asked for": (events({"model": "gpt", "choices": []}) + b"data: [DONE]\n\n", None),
    "running totals": (
        events(*({"model": "gpt", "usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in (1, 2, 3))),
        ("gpt", 9, 3),
    ),
    "openai responses": (
        b"event: response.created\n"
        + events({"type": "response.created", "response": {"model": "gpt", "usage": None}})
        + b"event: response.completed\n"
        + events({"response": {"model": "gpt", "usage": {"input_tokens": 3, "output_tokens": 5}}}),
        ("gpt", 3, 5),
    ),
    "anthropic": (
        b"event: message_start\n"
        + events({"type": "message_start", "message": {"model": "claude", "usage": ANTHROPIC}})
        + events({"type": "content_block_delta", "delta": {"text": '"usage": {"output_tokens": 99}'}})
        + events({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 15}}),
        ("claude", 25, 15),
    ),
    "google": (events({"usageMetadata": GOOGLE, "modelVersion": "gemini"}), ("gemini", 4, 6)),
    "carriage returns": (events({"model": "gpt", "usage": CHAT}, end="\r\n\r\n"), ("gpt", 9, 12)),
    "a JSON over many lines": (
        b'data: {\ndata: "model": "gpt",\ndata: "usage": {"prompt_tokens": 9}}\n\n',
        ("gpt", 9, None),
    ),
    "no blank line at the end": (events({"model": "gpt", "usage": CHAT}, end="\n"), ("gpt", 9, 12)),
    "broken JSON": (b'data: {"usage": {"prompt_tokens": 9\n\n' + events({"usage": CHAT}), ("", 9, 12)),
    "a comment": (b': "usage": {"prompt_tokens": 9}\n\n', None),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream(name: str):
    raw, told = STREAMS[name]
    assert counted(SSE, raw) == expected(told)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a shared machine is slow at times
@given(name=st.sampled_from([*WHOLE_ANSWERS, *STREAMS]), cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_pieces_make_no_difference(name: str, cuts: list[int]):
    raw, told = STREAMS.get(name) or (said(WHOLE_ANSWERS[name][0]), WHOLE_ANSWERS[name][1])
    at = [0, *sorted({min(cut, len(raw)) for cut in cuts}), len(raw)]
    pieces = [raw[start:end] for start, end in itertools.pairwise(at)]
    assert counted(SSE if name in STREAMS else JSON, *pieces) == expected(told)


LONG = "x" * (3 * WHOLE)
DECOY = json.dumps('"usage": {"prompt_tokens": 1, "completion_tokens": 1}')[1:-1]


@pytest.mark.parametrize("piece", [997, 65_536, 10_000_000])
@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        pytest.param(JSON, said({"model": "gpt", "choices": [LONG + DECOY], "usage": CHAT}), id="json"),
        pytest.param(
            SSE,
            events(
                {"response": {"model": "gpt", "output": LONG, "usage": {"input_tokens": 9, "output_tokens": 12}}},
                {"more": 1},
            ),
            id="an-event",
        ),
    ],
)
def test_long_answers_are_read_at_their_ends(kind: bytes, raw: bytes, piece: int):
    pieces = [raw[at : at + piece] for at in range(0, len(raw), piece)]
    assert counted(kind, *pieces) == {"model": "gpt", "input": 9, "output": 12}


def test_a_long_answer_cannot_be_taken_in_by_words():
    assert counted(JSON, said({"model": "gpt", "choices": [LONG + DECOY]})) == {}


def test_memory_is_bounded():
    chosen = TokenUsage(UsageCounter("openai", lambda *_: None, lambda *_: None, PriceTable())).for_answer(
        exchange(), Answer(index={b"content-type": SSE})
    )
    assert chosen is not None
    for _ in range(64):
        chosen.feed(b"data: " + b"x" * 65_536)
    kept = chosen._text  # type: ignore[attr-defined]
    assert len(kept) <= WHOLE + 65_536 + 16


def test_what_was_reported_before_a_cut_counts():
    first = events({"message": {"model": "claude", "usage": ANTHROPIC}})
    assert counted(SSE, first, b"data: {", finish=False) == {"model": "claude", "input": 25, "output": 1}
    assert counted(JSON, said({"usage": CHAT})[:-1], finish=False) == {}


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        pytest.param(JSON, {"status": 429}, id="an-error"),
        pytest.param(JSON, {"status": 302}, id="a-redirect"),
        pytest.param(JSON, {"coding": b"br"}, id="an-unknown-coding"),
        pytest.param(b"application/octet-stream", {}, id="a-file"),
        pytest.param(b"text/html", {}, id="a-page"),
        pytest.param(b"", {}, id="no-type"),
    ],
)
def test_other_answers_are_not_looked_at(kind: bytes, head: dict[str, Any]):
    assert counted(kind, said({"usage": CHAT}), **head) == {}


def test_a_counted_answer_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        assert counted(JSON, said({"model": "gpt", "usage": CHAT})) == {"model": "gpt", "input": 9, "output": 12}
        assert gc.collect() == 0
    finally:
        gc.enable()
