"""Requests of chat protocols, three messages each: the places of text that observing alone finds."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from sidecar.decision import KEEP, PASS
from sidecar.stores.observations import Observations
from sidecar.suggest.observer import Observer
from sidecar.suggest.routes import suggestions
from tests.support.exchanges import exchange

SAID = ("what is the weather like", "tell me about trains please", "and a short story now")
TEXT = "(text)"

SYSTEMS: dict[str, tuple[str, Any, str]] = {
    # system → (path, body with TEXT where the person's message goes, the place)
    "plain": ("/api/chat", {"sessionId": "s-1", "message": TEXT}, "$.message"),
    "openai": ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": TEXT}]}, "$.messages[*].content"),
    "openai responses": ("/v1/responses", {"model": "m", "input": TEXT}, "$.input"),
    "anthropic": (
        "/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]},
        "$.messages[*].content[*].text",
    ),
    "ollama": ("/api/generate", {"model": "m", "prompt": TEXT}, "$.prompt"),
    "chatkit": (
        "/chatkit",
        {"type": "threads.create", "params": {"input": {"content": [{"type": "input_text", "text": TEXT}], "attachments": []}}},
        "$.params.input.content[*].text",
    ),
    "vercel ai": (
        "/api/chat",
        {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": TEXT}]}], "trigger": "submit-message"},
        "$.messages[*].parts[*].text",
    ),
    "ag-ui": ("/agent", {"threadId": "t", "runId": "r", "messages": [{"id": "1", "role": "user", "content": TEXT}]}, "$.messages[*].content"),
    "langgraph": (
        "/threads/6c1f9b0e-3f0a-4c58-9a3a-0f3f1c2d4e5f/runs/stream",
        {"assistant_id": "agent", "input": {"messages": [{"role": "human", "content": TEXT}]}}, "$.input.messages[*].content",
    ),
    "mcp": (
        "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {"q": TEXT}}},
        "$.params.arguments.q",
    ),
    "open webui": ("/api/chat/completions", {"model": "m", "user_message": {"id": "u", "content": TEXT}}, "$.user_message.content"),
    "gradio": ("/gradio_api/run/predict", {"data": [TEXT, None], "fn_index": 2, "session_hash": "abc123xyz99"}, "$.data[0]"),
}  # fmt: skip


def with_text(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {name: with_text(item, text) for name, item in value.items()}
    if isinstance(value, list):
        return [with_text(item, text) for item in value]
    return text if value == TEXT else copy.copy(value)


@pytest.mark.parametrize(("path", "body", "place"), SYSTEMS.values(), ids=SYSTEMS)
def test_the_text_of_a_protocol_is_found(path, body, place) -> None:
    table = Observations()
    observer = Observer(table)
    for text in SAID:
        asked = exchange("POST", path, content_type="application/json")
        assert observer.check(asked) is PASS
        assert observer.inspect(asked, json.dumps(with_text(body, text)).encode()) is KEEP
    (found,) = suggestions(table)
    assert [each.place.path for each in found.sure] == [place]
    assert found.counts.requests == 3


def test_sockets_cookies_origins_and_page_loads() -> None:
    table = Observations()
    observer = Observer(table)
    for number in range(500):
        observer.check(exchange("GET", f"/static/{number}.js?v=8f14e45f"))
    assert table.operations == {}
    token = "2|abcdefgh|0123456789"
    observer.check(exchange("POST", "/x", cookie=f"a=1; _xsrf={token}; theme=dark", x_xsrftoken=token))
    assert table.cookies == {"_xsrf"}
    foreign = exchange("POST", "/x", origin="https://pages.example")
    foreign.origin = b"https://pages.example"
    observer.check(foreign)
    assert table.origins == {"https://pages.example"}
    for text in SAID:
        observer.socket_message(exchange("GET", "/ws"), f'42["say",{{"text":"{text}"}}]'.encode(), binary=False)
    assert [each.place.event for each in suggestions(table)[0].sure] == ["say"]


class Head:
    """The head of an answer that streams."""

    status = 200

    def __init__(self) -> None:
        self.index = {b"content-type": b"text/event-stream; charset=utf-8"}

    def values(self, _: bytes) -> list[bytes]:
        return []


def test_which_answers_stream() -> None:
    table = Observations()
    assert Observer(table).for_answer(exchange("POST", "/chat"), Head()) is None
    assert [counts.streams for counts in table.operations.values()] == [{"server-sent events"}]
