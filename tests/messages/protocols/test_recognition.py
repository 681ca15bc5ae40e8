"""Which protocol a request is taken for."""

from __future__ import annotations

import pytest

from sidecar.messages.protocols.recognition import recognise

RECOGNISED = [
    ("/v1/chat/completions", {}, "openai"),
    ("/api/chat/completions", {}, "open-webui"),
    ("/v1/responses/", {}, "openai-responses"),
    ("/v1/messages", {}, "anthropic"),
    ("/gradio_api/queue/join", {}, "gradio"),
    ("/gradio_api/call/chat", {}, "gradio"),
    ("/threads/x/runs/stream", {}, "langgraph"),
    ("/mcp", {}, "mcp"),
    ("/api/chat", {"message": "x"}, "plain"),
    ("/api/chat", {"message": {"parts": []}}, "vercel-ai"),
    ("/api/chat", {"messages": [{"parts": []}]}, "vercel-ai"),
    ("/api/chat", {"messages": [{"content": ""}]}, "openai"),
    ("/api/chat", {"messages": [], "system": "", "max_tokens": 1}, "anthropic"),
    ("/", {"threadId": "t", "runId": "r", "messages": []}, "ag-ui"),
    ("/", {"type": "threads.create", "params": {}}, "chatkit"),
    ("/", {"data": [], "session_hash": "x"}, "gradio"),
    ("/", {"assistant_id": "x", "input": {}}, "langgraph"),
    ("/", {"input": "x"}, "openai-responses"),
    ("/", {"jsonrpc": "2.0", "method": "x"}, "mcp"),
    ("/", [{"jsonrpc": "2.0"}], "mcp"),
    ("/", {"x": 1}, None),
    ("/", [], None),
    ("/", "x", None),
]


@pytest.mark.parametrize(("path", "value", "name"), RECOGNISED, ids=[f"{row[0]} {row[1]}" for row in RECOGNISED])
def test_recognises(path, value, name):
    protocol = recognise(path, value)
    assert (protocol.name if protocol else None) == name
