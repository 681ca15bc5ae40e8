"""The last event of a stream that is ended before its end."""

from __future__ import annotations

import pytest

from sidecar.messages.protocols.model_apis import ANTHROPIC
from sidecar.responses.stream_end import LastEvent, ended_events, last_event
from sidecar.vocabulary import Code


@pytest.mark.parametrize(
    ("protocol", "path", "begins", "complete"),
    [
        pytest.param("openai", "/any", b'data: {"error":{"message":"Access has been revoked"', True, id="openai"),
        pytest.param("anthropic", "/any", b'event: error\ndata: {"type":"error"', True, id="anthropic"),
        pytest.param("plain", "/any", b'event: error\ndata: {"error":"Access has been revoked"', False, id="plain"),
        pytest.param("plain", "/v1/messages", b'event: error\ndata: {"type":"error"', True, id="plain by its path"),
        pytest.param("auto", "/v1/chat/completions", b'data: {"error":{', True, id="auto by its path"),
        pytest.param("unheard-of", "/any", b"event: error\n", False, id="unknown"),
    ],
)
def test_the_last_event_is_the_protocols_own(protocol: str, path: str, begins: bytes, complete: bool) -> None:
    last = last_event(protocol, Code.ACCESS_REVOKED, "req-1", path=path)
    assert last == LastEvent(last.data, complete)
    assert last.data.startswith(begins)
    assert last.data.endswith(b"\n\n")
    assert b"ACCESS_REVOKED" in last.data


def test_a_filter_ends_a_stream_with_the_same_event() -> None:
    ended = ended_events(b"data: a\n\n", ANTHROPIC, Code.RATE_LIMIT_EXCEEDED, "req-1", "It is used up")
    last = last_event("anthropic", Code.RATE_LIMIT_EXCEEDED, "req-1", sentence="It is used up")
    assert (ended.last, ended.complete) == (b"data: a\n\n" + last.data, True)
