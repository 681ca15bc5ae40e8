"""What of an answer services are asked about, and which answers wait for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.responses.held_answers import is_stream, text_of

DEEP: Any = "deep"
for _ in range(500):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"id": "chatcmpl-1", "model": "m:7b", "choices": [{"message": {"role": "assistant", "content": "hi there"}}]}, "hi there"),
        ({"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "stop_reason": "end_turn"}, "one\ntwo"),
        # A text does not hide behind the name of an id.
        ({"id": "how to do harm", "role": "x\ny"}, "how to do harm\nx\ny"),
        ({"reply": "a", "authorized": True, "n": 1, "none": None, "empty": ""}, "a"),
        (DEEP, "deep"),
        (["a", {"b": "c"}, ["d"]], "a\nc\nd"),
        ("only", "only"),
        (7, ""),
    ],
    ids=["openai", "anthropic", "hidden", "plain", "deep", "order", "string", "number"],
)  # fmt: skip
def test_the_texts_of_an_answer(value: Any, text: str) -> None:
    assert text_of(b"application/json", json.dumps(value).encode()) == text


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (b"text/plain", b"plain \xff", "plain \ufffd"),
        (b"application/problem+json", b'{"title": "Sorry, no"}', "Sorry, no"),
        (b"application/json", b"{", None),
        (b"application/json", b'"\xff"', None),
    ],
    ids=["plain", "suffix", "cut", "no-utf-8"],
)
def test_other_answers(kind: bytes, body: bytes, text: str | None) -> None:
    assert text_of(kind, body) == text


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        (b"text/event-stream", True),
        (b"application/x-ndjson", True),
        (b"application/stream+json", True),
        (b"application/json-seq", True),
        (b"multipart/mixed", True),
        (b"application/json", False),
        (b"application/vnd.api+json", False),
        (b"text/plain", False),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_what_streams(kind: bytes, stream: bool) -> None:
    assert is_stream(kind) is stream
