from __future__ import annotations

import orjson
import pytest

from sidecar.json_path import compile_path
from sidecar.messages.protocols import BY_NAME, KNOWN, recognise
from sidecar.messages.text_finder import counted, finder, of_roles

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


def test_fields_stand_instead_of_the_plain_message():
    places = finder(BY_NAME["plain"], [compile_path("$.q"), compile_path("$.more[*]")])
    assert places.find({"q": "a", "more": ["b"], "message": 5}) == [(("q",), "a"), (("more", 0), "b")]
    assert places.find({"q": "a", "more": [5]}) is None
    assert places.find({"message": "a"}) == []


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


ROLES = [
    ("openai", {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, ["b"]),
    ("anthropic", {"system": "a", "messages": [{"role": "user", "content": [TEXT, {"type": "tool_result", "content": [{"text": "c"}]}]}]}, ["t"]),
    ("openai-responses", {"instructions": "a", "input": [{"role": "developer", "content": "b"}, {"role": "user", "content": "c"}]}, ["c"]),
    ("open-webui", {"user_message": {"content": "a"}, "messages": [{"role": "system", "content": "b"}]}, ["a"]),
    ("plain", {"message": "a"}, ["a"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "texts"), ROLES, ids=[row[0] for row in ROLES])
def test_roles_leave_out_the_turns_of_others(name, body, texts):
    found = finder(BY_NAME[name]).find(body)
    chosen = of_roles(BY_NAME[name], body, found, frozenset({"user"}))
    assert [text for _, text in chosen] == texts


def test_fields_are_looked_for_beside_those_of_another_protocol():
    places = finder(BY_NAME["openai"], [compile_path("$.title")])
    assert places.find({"title": "a", "messages": [{"content": "b"}]}) == [
        (("title",), "a"),
        (("messages", 0, "content"), "b"),
    ]


LENGTHS = [
    ("plain", {"message": "four"}, 4),
    ("openai", {"messages": [{"role": "user", "content": "x" * 9}, {"role": "user", "content": [TEXT, TEXT]}, {"role": "assistant", "content": "long enough"}]}, 2),
    ("openai", {"messages": [{"role": "system", "content": "x" * 9}]}, 9),
    ("anthropic", {"system": "x" * 9, "messages": [{"role": "user", "content": "abc"}]}, 3),
    ("openai-responses", {"input": "abcd", "instructions": "abcde"}, 5),
    ("openai-responses", {"input": [{"role": "user", "content": "ab"}], "instructions": "abcde"}, 2),
    ("langgraph", {"input": {"messages": [{"type": "human", "content": "ab"}, {"type": "ai", "content": "abc"}]}}, 2),
    ("langgraph", {"input": {"messages": [["user", "abc"]]}}, 3),
    ("langgraph", {"input": {"messages": [["user", "abc"]], "question": "abcd e"}}, 6),
    ("langgraph", {"command": {"update": {"messages": [{"role": "user", "content": "abc"}, {"role": "ai", "content": "abcd"}]}}}, 3),
    ("langgraph", [{"input": {"messages": [{"role": "user", "content": "abc"}]}}, {"input": {"messages": [{"role": "user", "content": "abcd"}]}}], 4),
    ("gradio", {"data": [None, [{"role": "assistant", "content": [{"text": "abcdef"}]}]]}, 0),
    ("gradio", {"data": [{"text": "abc"}, [{"role": "user", "content": [{"text": "abcdef"}]}]]}, 3),
    ("open-webui", {"user_message": {"content": "abc"}, "messages": [{"role": "user", "content": "ab"}]}, 3),
    ("open-webui-api", {"chat": {"history": {"messages": {"m": {"content": "abcdef"}}}}}, 0),
    ("plain", {"message": "👩‍💻"}, 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "length"), LENGTHS, ids=[f"{row[0]} {row[2]}" for row in LENGTHS])
def test_the_limit_counts_the_last_message_of_the_user(name, body, length):
    texts = finder(BY_NAME[name]).find(body)
    assert counted(BY_NAME[name], body, texts) == length


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


DELTAS = [
    ("openai", {"choices": [{"delta": {"content": "x"}}]}),
    ("openai-responses", {"type": "response.output_text.delta", "delta": "x"}),
    ("anthropic", {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}),
    ("chatkit", {"type": "thread.item.updated", "update": {"delta": "x"}}),
    ("vercel-ai", {"type": "text-delta", "id": "1", "delta": "x"}),
    ("ag-ui", {"type": "TEXT_MESSAGE_CONTENT", "delta": "x"}),
]


@pytest.mark.parametrize(("name", "event"), DELTAS, ids=[name for name, _ in DELTAS])
def test_text_of_a_stream(name, event):
    assert "x" in [path.first(event) for path in BY_NAME[name].deltas]


def test_names_are_unique():
    assert len({protocol.name for protocol in KNOWN}) == len(KNOWN)
    assert orjson.dumps(sorted(BY_NAME))  # names are text
