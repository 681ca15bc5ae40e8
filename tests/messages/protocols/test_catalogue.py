"""Each protocol: its texts, messages without text, and its token counts."""

from __future__ import annotations

import orjson
import pytest

from sidecar.messages.protocols.catalogue import BY_NAME, KNOWN
from sidecar.messages.text_finder import finder

TEXT = {"type": "text", "text": "t"}
IMAGE = {"type": "image_url", "image_url": {"url": "u"}}

FOUND = [
    ("plain", {"message": "a", "sessionId": "s"}, ["a"]),
    ("openai", {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": [TEXT, IMAGE, "b"]}]}, ["a", "b", "t"]),
    ("openai", {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "x"}}]}, {"role": "user", "content": "a"}]}, ["a"]),
    ("openai-responses", {"model": "m", "input": "a"}, ["a"]),
    ("openai-responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}, {"type": "function_call", "arguments": "x"}], "instructions": "b"}, ["a", "b"]),
    ("openai-realtime", {"type": "conversation.item.create", "item": {"id": "i", "content": [{"type": "input_text", "text": "a"}, {"audio": "x"}]}}, ["a"]),
    ("anthropic", {"system": [TEXT], "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "y"}, {"type": "tool_use", "input": {"text": "x"}}]}]}, ["a", "t"]),
    ("chatkit", {"type": "threads.create", "params": {"input": {"content": [{"type": "input_text", "text": "a"}], "quoted_text": "b", "attachments": ["x"]}}}, ["a", "b"]),
    ("chatkit", {"type": "threads.list", "params": {"limit": 9}}, []),
    ("vercel-ai", {"id": "c", "messages": [{"role": "user", "parts": [TEXT, {"type": "file", "url": "x"}]}]}, ["t"]),
    ("ag-ui", {"threadId": "t", "runId": "r", "state": {"x": "y"}, "messages": [{"role": "user", "content": "a"}]}, ["a"]),
    ("gradio", {"data": ["a", "b", 5], "session_hash": "s"}, ["a", "b"]),
    ("gradio", {"data": [{"text": "a", "files": [{"path": "x", "orig_name": "y"}]}]}, ["a"]),
    ("gradio", {"data": [None, [{"role": "user", "content": [{"text": "a", "type": "text"}]}]]}, ["a"]),
    ("gradio", {"data": [7]}, []),
    ("langgraph", {"assistant_id": "x", "input": {"messages": [{"type": "human", "content": "a"}]}, "config": {"x": "y"}}, ["a"]),
    ("langgraph", {"input": {"messages": [["user", "a"]]}}, ["a"]),
    ("langgraph", {"input": None, "command": {"resume": "a"}}, ["a"]),
    ("langgraph", {"input": "a"}, ["a"]),
    ("langgraph", {"input": {"question": "a", "messages": []}}, ["a"]),
    ("langgraph", {"command": {"update": {"messages": [{"role": "user", "content": "a"}]}}}, ["a"]),
    ("langgraph", {"input": {"messages": [{"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "HumanMessage"], "kwargs": {"content": "a"}}]}}, ["a"]),
    ("langgraph", {"values": {"messages": [{"type": "ai", "content": [TEXT], "tool_calls": [{"args": {"x": "y"}}]}]}}, ["t"]),
    ("langgraph", [{"assistant_id": "x", "input": {"messages": "a"}}], ["a"]),
    ("open-webui", {"user_message": {"content": "a", "files": []}, "chat_id": "x"}, ["a"]),
    ("open-webui-api", {"chat": {"title": "a", "history": {"messages": {"m": {"content": "b"}}}}}, ["a", "b"]),
    ("ollama", {"model": "m", "messages": [{"role": "user", "content": "a", "images": ["x"]}]}, ["a"]),
    ("ollama", {"model": "m", "prompt": "a", "system": "b"}, ["a", "b"]),
    ("openai-text", {"model": "m", "prompt": ["a", "b"]}, ["a", "b"]),
    ("openai-text", {"model": "m", "input": "a"}, ["a"]),
    ("openai-image", {"model": "m", "prompt": "a"}, ["a"]),
    ("openai-audio", {"model": "m", "prompt": "a"}, ["a"]),
    ("nicegui", ["event", {"id": 1, "args": ['"a"', '{"x": "b"}', "5"]}], ["a", "b"]),
    ("shiny", {"method": "update", "data": {"chat:x": {"text": "a", "seq": 1}}}, ["a"]),
    ("bokeh", {"events": [{"kind": "ModelChanged", "model": {"id": "p1"}, "attr": "value", "new": "a b"}]}, ["a b"]),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [TEXT]}]}]}, ["t"]),
    ("mcp", {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "x", "arguments": {"q": "a", "n": 1, "l": ["b"]}, "_meta": {"x": "y"}}}, ["a", "b"]),
    ("mcp", [{"jsonrpc": "2.0", "params": {"arguments": {"q": "a"}}}], ["a"]),
    ("chainlit", ["client_message", {"message": {"id": "x", "output": "a"}}], ["a"]),
    ("open-webui", {"chat_id": "x", "messages": [{"role": "user", "content": "a"}]}, ["a"]),
    ("auto", {"message": "a"}, ["a"]),
    ("auto", {"jsonrpc": "2.0", "method": "x", "message": "a"}, ["a"]),
    ("auto", {"messages": [{"parts": [TEXT], "content": "a"}], "system": "b", "input": "c"}, ["a", "b", "c", "t"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "texts"), FOUND, ids=[f"{row[0]} {row[2]}" for row in FOUND])
def test_finds_the_texts_and_nothing_else(name, body, texts):
    found = finder(BY_NAME[name]).find(body)
    assert found is not None
    assert sorted(text for _, text in found) == texts


NOT_FOUND = [
    ("plain", []),
    ("plain", {"message": 5}),
    ("plain", {"message": ["x"]}),
    ("plain", {"message": {"text": "x"}}),
    ("openai", {"messages": [{"content": 5}]}),
    ("openai", {"messages": [{"content": [["x"]]}]}),
    ("openai", {"messages": [{"content": [{"text": {"value": "x"}}]}]}),
    ("anthropic", {"messages": [{"content": "x"}], "system": True}),
    ("openai-responses", {"input": 5}),
    ("auto", {"message": 5, "messages": [{"content": "x"}]}),
]


@pytest.mark.parametrize(("name", "body"), NOT_FOUND, ids=[f"{name} {body}" for name, body in NOT_FOUND])
def test_what_is_no_text_at_a_text_s_place_is_refused(name, body):
    assert finder(BY_NAME[name]).find(body) is None


TEXTLESS = [
    ("plain", {}, False),
    ("plain", {"message": None}, False),
    ("plain", {"text": "x"}, False),
    ("openai", {"model": "m"}, False),
    ("openai", {"messages": []}, False),
    ("openai", {"messages": [{"role": "user", "content": [IMAGE]}]}, True),
    ("openai-responses", {"model": "m"}, False),
    ("openai-responses", {"prompt": {"id": "x"}}, True),
    ("openai-text", {"model": "m"}, False),
    ("openai-image", {"model": "m"}, False),
    ("openai-audio", {"model": "m"}, True),
    ("openai-threads", {"metadata": {}}, True),
    ("openai-threads", {"foo": "x"}, False),
    ("openai-realtime", {"type": "input_audio_buffer.append", "audio": "AAAA"}, True),
    ("openai-realtime", {"type": "something.else"}, False),
    ("anthropic", {"model": "m", "messages": []}, False),
    ("ollama", {"model": "m"}, True),
    ("chatkit", {"type": "threads.list", "params": {}}, True),
    ("chatkit", {"type": "threads.create", "params": {}}, False),
    ("chatkit", {"type": "threads.unknown", "params": {"x": "y"}}, False),
    ("vercel-ai", {"messages": [{"role": "user", "parts": [{"type": "file", "url": "x"}]}]}, True),
    ("vercel-ai", {"chat": "x"}, False),
    ("ag-ui", {"threadId": "t", "runId": "r", "messages": []}, True),
    ("ag-ui", {"threadId": "t"}, False),
    ("gradio", {"data": [None, 5]}, True),
    ("gradio", {"dat": ["x"]}, False),
    ("langgraph", {"assistant_id": "x", "input": None}, True),
    ("langgraph", {"foo": "x"}, False),
    ("mcp", {"jsonrpc": "2.0", "method": "initialize"}, True),
    ("mcp", {"method": "tools/call"}, False),
    ("chainlit", ["fetch_favorites"], True),
    ("chainlit", ["client_message", {}], False),
    ("chainlit", ["unknown", {}], False),
    ("open-webui", {"chat_id": "x", "user_message": None}, True),
    ("open-webui", {"model": "x"}, False),
    ("bokeh", {}, True),
    ("shiny", {"method": "init", "data": {"x": 1}}, True),
    ("shiny", {"data": {}}, False),
    ("nicegui", ["handshake", {"client_id": "x"}], True),
]


@pytest.mark.parametrize(("name", "body", "fine"), TEXTLESS, ids=[f"{row[0]} {row[1]}" for row in TEXTLESS])
def test_which_messages_may_do_without_text(name, body, fine):
    assert finder(BY_NAME[name]).find(body) == []
    assert BY_NAME[name].may_be_textless(body) is fine


ANSWERS = [
    ("openai", {"model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}, (3, 4, "m")),
    ("openai-responses", {"type": "response.completed", "response": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 4}}}, (3, 4, "m")),
    ("anthropic", {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4, "m")),
    ("anthropic", {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}}, (3, 1, "m")),
    ("anthropic", {"type": "message_delta", "usage": {"output_tokens": 9}}, (None, 9, None)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "usage"), ANSWERS, ids=[f"{row[0]} {row[2]}" for row in ANSWERS])
def test_usage(name, answer, usage):
    found = [
        (one.input.first(answer), one.output.first(answer), one.model.first(answer)) for one in BY_NAME[name].usage
    ]
    assert usage in found


def test_names_are_unique():
    assert len({protocol.name for protocol in KNOWN}) == len(KNOWN)
    assert orjson.dumps(sorted(BY_NAME))  # names are text
