"""What each kind makes of real requests, over real sockets: the policy says little more than the kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.support.backends import Serving
from tests.support.raw import Message, get, post
from tests.support.sidecar import Running, threaded

IMG = "<img src=x onerror=alert(1)>"
SAFE = "&lt;img src=x onerror=alert(1)>"
LONG = "x" * 300


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    with ExitStack() as stack:
        yield Stages(stack, tmp_path_factory)


class Stages:
    """One sidecar for each kind that is asked for, before one backend that each test plays."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._folders = folders
        self.backend = stack.enter_context(Serving())
        self._running: dict[str, Running] = {}

    def of(self, kind: str) -> Running:
        if kind not in self._running:
            folder: Path = self._folders.mktemp(kind)
            backend = {"url": self.backend.url, "kind": kind}
            started = threaded(
                folder, self.backend.url, backend=backend, routes=[], message={"max_chars": 200}, rate_limits=[]
            )
            self._running[kind] = self._stack.enter_context(started)
        self.backend.seen.clear()
        return self._running[kind]


def arrived(stages: Stages, kind: str, path: str, body: object) -> tuple[Message | None, Message, Running]:
    """Post JSON; return what the backend got (None: nothing), what the client got, and the sidecar."""
    running = stages.of(kind)
    with running.connect() as client:
        client.send(post(path, json.dumps(body).encode()))
        reply = client.response()
    return (stages.backend.seen[0] if stages.backend.seen else None), reply, running


def constructed(text: str) -> dict[str, object]:
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain_core", "messages", "HumanMessage"],
        "kwargs": {"content": text},
    }


# kind, path, a body with one text in it
PLACES = [
    ("gradio", "/gradio_api/run/predict", lambda t: {"data": [t], "fn_index": 0}),
    ("gradio", "/gradio_api/run/predict", lambda t: {"data": [{"text": t, "files": []}], "session_hash": "x"}),
    ("gradio", "/gradio_api/queue/join?", lambda t: {"data": [None, t], "fn_index": 2, "session_hash": "x"}),
    ("gradio", "/gradio_api/call/chat", lambda t: {"data": [t]}),
    ("gradio", "/gradio_api/call/v2/chat", lambda t: {"data": [t]}),
    ("gradio", "/app/gradio_api/run/predict", lambda t: {"data": [t], "fn_index": 0}),
    ("gradio", "/gradio_api/component_server", lambda t: {"data": t, "fn_name": "f", "component_id": 1}),
    ("gradio", "/queue/join", lambda t: {"data": [t], "fn_index": 0, "session_hash": "x"}),
    ("gradio", "/run/predict", lambda t: {"data": [t], "fn_index": 0}),
    ("gradio", "/api/predict/", lambda t: {"data": [t], "fn_index": 0}),
    ("gradio", "/call/chat", lambda t: {"data": [t]}),
    ("open-webui", "/api/chat/completions", lambda t: {"user_message": {"content": t}, "chat_id": "c"}),
    ("open-webui", "/api/v1/chat/completions", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("open-webui", "/api/v1/channels/c/messages/post", lambda t: {"content": t}),
    ("open-webui", "/api/v1/messages", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("open-webui", "/ollama/api/chat", lambda t: {"model": "m", "messages": [{"role": "user", "content": t}]}),
    ("open-webui", "/ollama/api/generate/0", lambda t: {"model": "m", "prompt": t}),
    ("open-webui", "/openai/chat/completions", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("langgraph", "/threads/t/runs/stream", lambda t: {"assistant_id": "a", "command": {"update": {"messages": [{"role": "user", "content": t}]}}}),
    ("langgraph", "/threads/t/runs/stream", lambda t: {"assistant_id": "a", "input": {"messages": [constructed(t)]}}),
    ("langgraph", "/threads/t/runs/wait", lambda t: {"assistant_id": "a", "command": {"resume": t}}),
    ("langgraph", "/threads/t/runs", lambda t: {"assistant_id": "a", "input": {"question": t}}),
    ("langgraph", "/threads/t/state", lambda t: {"values": {"messages": [{"role": "user", "content": t}]}}),
    ("langgraph", "/runs/batch", lambda t: [{"assistant_id": "a", "input": {"messages": [{"role": "user", "content": t}]}}]),
    ("langgraph", "/runs/stream", lambda t: {"assistant_id": "a", "input": {"messages": [["user", t]]}}),
    ("langgraph", "/api/threads/t/runs/stream", lambda t: {"assistant_id": "a", "input": {"messages": [["user", t]]}}),
    ("litellm", "/v1/chat/completions", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("litellm", "/chat/completions", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("litellm", "/openai/deployments/m/chat/completions", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("litellm", "/openai/deployments/org/m/chat/completions", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("litellm", "/engines/m/chat/completions", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("litellm", "/engines/m%2Fn/completions", lambda t: {"prompt": t}),
    ("litellm", "/v1/messages", lambda t: {"messages": [{"role": "user", "content": t}]}),
    ("litellm", "/v1beta/models/gemini-x:generateContent", lambda t: {"contents": [{"role": "user", "parts": [{"text": t}]}]}),
    ("litellm", "/v1/rerank", lambda t: {"query": t, "documents": ["x"]}),
    ("langgraph", "/threads/t/commands", lambda t: {"id": 1, "method": "run.start", "params": {"input": {"messages": [{"role": "user", "content": t}]}}}),
    ("openai", "/v1/responses", lambda t: {"input": t}),
    ("openai", "/v1/embeddings", lambda t: {"input": [t]}),
    ("openai", "/v1/threads/t/messages", lambda t: {"role": "user", "content": t}),
]  # fmt: skip
IDS = [f"{kind} {path} {json.dumps(body('…'), ensure_ascii=False)}"[:100] for kind, path, body in PLACES]


@pytest.mark.parametrize(("kind", "path", "body"), PLACES, ids=IDS)
def test_markup_is_escaped_wherever_the_kind_has_text(stages, kind, path, body):
    request, reply, _ = arrived(stages, kind, path, body(IMG))
    assert request is not None, reply.body
    assert json.loads(request.body) == body(SAFE)


@pytest.mark.parametrize(("kind", "path", "body"), PLACES, ids=IDS)
def test_long_texts_are_refused_wherever_the_kind_has_them(stages, kind, path, body):
    request, reply, _ = arrived(stages, kind, path, body(LONG))
    assert (request, reply.status) == (None, 400)
    assert b"MESSAGE_TOO_LONG" in reply.body


KEPT = [
    ("/api/chat/completions", lambda t: {"user_message": {"content": "hi"}, "files": [{"type": "text", "content": t}]}),
    ("/api/chat/completions", lambda t: {"user_message": {"content": "hi", "files": [{"file": {"data": {"content": t}}}]}}),
    ("/api/chat/completions", lambda t: {"user_message": {"content": "hi"}, "variables": {"{{USER_NAME}}": t}}),
    ("/api/v1/chats/c", lambda t: {"chat": {"history": {"messages": {"m": {"output": [{"content": [{"text": t}]}]}}}}}),
    ("/api/v1/chats/c", lambda t: {"chat": {"history": {"messages": {"m": {"statusHistory": [{"description": t}]}}}}}),
    ("/api/v1/chats/c", lambda t: {"chat": {"tags": [t], "title": "t"}}),
    ("/api/v1/chats/c/messages/m/event", lambda t: {"type": "message", "data": {"content": t}}),
    ("/api/v1/notes/create", lambda t: {"title": t, "data": {"content": {"md": "x", "html": "<p>x</p>"}}}),
    ("/api/v1/notes/n/update", lambda t: {"data": {"content": {"md": t, "html": "<p>x</p>", "json": {"type": "doc"}}}}),
    ("/api/v1/prompts/create", lambda t: {"command": "c", "name": "n", "content": t}),
    ("/api/v1/prompts/id/p/update", lambda t: {"command": "c", "name": t, "content": "x"}),
    ("/api/v1/memories/add", lambda t: {"content": t}),
    ("/api/v1/memories/update", lambda t: {"operations": [{"action": "add", "content": t}]}),
    ("/api/v1/folders/", lambda t: {"name": "n", "data": {"system_prompt": t}}),
    ("/api/v1/models/create", lambda t: {"id": "m", "name": "n", "params": {"system": t}, "meta": {}}),
    ("/api/v1/channels/c/update", lambda t: {"name": "n", "description": t}),
    ("/api/v1/evaluations/feedback", lambda t: {"type": "rating", "data": {"rating": 1, "comment": t}}),
    ("/api/v1/files/f/data/content/update", lambda t: {"content": t}),
    ("/api/v1/auths/signup", lambda t: {"name": t, "email": "a@b", "password": "<b>typed</b>"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), KEPT, ids=[f"{path} {json.dumps(body('…'))}"[:90] for path, body in KEPT])
def test_open_webui_s_other_texts_are_escaped_and_of_any_length(stages, path, body):
    request, reply, _ = arrived(stages, "open-webui", path, body(IMG))
    assert request is not None, reply.body
    assert json.loads(request.body) == body(SAFE)
    request, reply, _ = arrived(stages, "open-webui", path, body(LONG))
    assert request is not None, reply.body


TEXTLESS = [
    ("gradio", "/gradio_api/run/predict", {"data": [], "event_data": None, "fn_index": 14}),
    ("gradio", "/gradio_api/queue/join?", {"data": [None, None], "fn_index": 2, "session_hash": "x"}),
    ("gradio", "/gradio_api/queue/join?", {"data": [[{"role": "assistant", "content": [{"text": LONG, "type": "text"}]}]], "fn_index": 3}),
    ("open-webui", "/api/v1/chats/c/pin", {}),
    ("open-webui", "/api/v1/notes/n/pin", {}),
    ("open-webui", "/api/v1/memories/reset", {}),
    ("open-webui", "/api/v1/models/create", {"id": "m", "name": "n", "meta": {"description": None}, "params": {}}),
    ("open-webui", "/api/v1/chats/new", {"chat": {"title": "New Chat", "history": {"messages": {"m": {"content": LONG}}}}}),
    ("langgraph", "/threads", {"thread_id": "t"}),
    ("langgraph", "/threads", {"metadata": {}}),
    ("langgraph", "/threads/search", {"limit": 10}),
    ("langgraph", "/threads/t/runs/stream", {"assistant_id": "a", "input": None}),
    ("litellm", "/key/generate", {"models": []}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path", "body"), TEXTLESS, ids=[f"{row[0]} {row[1]} {row[2]}"[:80] for row in TEXTLESS]
)
def test_operations_without_new_text_pass(stages, kind, path, body):
    request, reply, _ = arrived(stages, kind, path, body)
    assert request is not None, reply.body
    assert json.loads(request.body) == body


UNREAD = [
    ("gradio", "/gradio_api/run/predict", {"fn_index": 0, "inputs": ["x"]}),
    ("open-webui", "/api/chat/completions", {"question": "x"}),
    ("open-webui", "/api/chat/completions", {"question": "x", "variables": {"{{USER_NAME}}": "x"}}),
    ("langgraph", "/runs/wait", {"question": "x"}),
    ("litellm", "/chat/completions", {"prompt": "x"}),
]


@pytest.mark.parametrize(("kind", "path", "body"), UNREAD, ids=[f"{row[0]} {row[1]} {len(row[2])}" for row in UNREAD])
def test_a_message_without_a_text_that_is_known_is_refused(stages, kind, path, body):
    request, reply, running = arrived(stages, kind, path, body)
    assert (request, reply.status) == (None, 400)
    assert b"MESSAGE_INVALID" in reply.body
    told = (reply.get(b"x-request-id") or b"").decode()
    assert running.logged(request_id=told, event="MESSAGE_UNREADABLE")["outcome"] == "refused"


@pytest.mark.parametrize(("kind", "path"), [row[:2] for row in UNREAD if row[0] != "langgraph"])
def test_a_post_without_a_body_is_refused_where_it_should_hold_text(stages, kind, path):
    running = stages.of(kind)
    with running.connect() as client:
        reply = client.send(post(path, b"")).response()
    assert (reply.status, stages.backend.seen) == (400, [])
    told = (reply.get(b"x-request-id") or b"").decode()
    assert running.logged(request_id=told, event="MESSAGE_UNREADABLE")["detail"]["reason"] == "no_text"


def form(**fields: str) -> bytes:
    """Return a form with a picture, as OpenAI's client sends it."""
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    file = '--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n'
    return "".join([*parts, file, "--x--\r\n"]).encode()


FORMS = [
    ("/v1/images/edits", {"prompt": IMG}, 200, SAFE),
    ("/v1/images/edits", {"prompt": LONG}, 400, b"MESSAGE_TOO_LONG"),
    ("/v1/images/edits", {"Prompt": IMG, "prompt": "x"}, 400, b"MESSAGE_INVALID"),
    ("/v1/images/edits", {"model": "m"}, 400, b"MESSAGE_INVALID"),
    ("/v1/videos", {"prompt": IMG}, 200, SAFE),
    ("/v1/audio/transcriptions", {"prompt": IMG}, 200, SAFE),
    ("/v1/audio/transcriptions", {"model": "m"}, 200, "m"),
    ("/audio/translations", {"prompt": LONG}, 400, b"MESSAGE_TOO_LONG"),
]


@pytest.mark.parametrize(
    ("path", "fields", "status", "expected"), FORMS, ids=[f"{each[0]} {each[2]} {i}" for i, each in enumerate(FORMS)]
)
def test_prompts_in_forms_are_looked_at(stages, path, fields, status, expected):
    running = stages.of("openai")
    body = form(**fields)
    head = ("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}")
    with running.connect() as client:
        reply = client.send(get(path, *head, method="POST") + body).response()
    assert reply.status == status, reply.body
    if status == 200:
        name = "prompt" if "prompt" in fields else "model"
        assert stages.backend.seen[0].body == form(**{name: expected})
    else:
        assert expected in reply.body


PARTS = [
    ("openai", "/v1/*", "/v1/chat/completions"),
    ("litellm", "/openai/*", "/openai/deployments/m/chat/completions"),
    ("openai", "/v1/chat/*", "/v1/chat/completions"),
]


@pytest.mark.parametrize(("kind", "route", "path"), PARTS, ids=[row[1] for row in PARTS])
def test_a_route_of_the_operator_does_not_switch_off_what_the_kind_looks_at(tmp_path: Path, kind, route, path):
    routes = [{"name": "own", "match": {"path": route}, "session": "none"}]
    with Serving() as backend:
        server = {"url": backend.url, "kind": kind}
        with threaded(tmp_path, backend.url, backend=server, routes=routes) as running:
            body = {"messages": [{"role": "user", "content": IMG}]}
            assert asked(running, path, body).status == 200
            assert json.loads(backend.seen[0].body)["messages"][0]["content"] == SAFE


def test_what_was_looked_at_is_counted(stages):
    body = {"messages": [{"role": "system", "content": "four"}, {"role": "user", "content": "hi"}]}
    _, reply, running = arrived(stages, "litellm", "/chat/completions", body)
    told = (reply.get(b"x-request-id") or b"").decode()
    line = running.logged(request_id=told, event="CHAT_MESSAGE_PROCESSED")
    assert (line["detail"]["texts"], line["detail"]["characters"]) == (2, 6)
    assert line["route"] == "litellm-chat"


def test_a_message_without_text_is_not_reported_as_processed(stages):
    _, reply, running = arrived(stages, "gradio", "/gradio_api/run/predict", {"data": [None]})
    told = (reply.get(b"x-request-id") or b"").decode()
    assert running.logged(request_id=told)["category"] == "ACCESS"


def limited(tmp_path: Path, backend: Serving, kind: str) -> AbstractContextManager[Running]:
    limits = [
        {"name": "few", "per": "ip", "limit": 2, "window": "1h"},
        {"name": "wide", "per": "ip", "limit": 99, "window": "1h", "counts": "all"},
    ]
    return threaded(tmp_path, backend.url, backend={"url": backend.url, "kind": kind}, routes=[], rate_limits=limits)


def asked(running: Running, path: str, body: object) -> Message:
    with running.connect() as client:
        return client.send(post(path, json.dumps(body).encode())).response()


def test_gradio_s_limits_count_messages_and_not_what_its_page_sends_beside_them(tmp_path: Path):
    with Serving() as backend, limited(tmp_path, backend, "gradio") as running:
        for _ in range(2):
            assert asked(running, "/gradio_api/run/predict", {"data": [{"text": "hi", "files": []}]}).status == 200
            for _ in range(4):
                history = [{"role": "user", "content": [{"text": "hi", "type": "text"}]}]
                assert asked(running, "/gradio_api/run/predict", {"data": [None, history]}).status == 200
                assert asked(running, "/gradio_api/queue/join?", {"data": [None, None]}).status == 200
        third = asked(running, "/gradio_api/run/predict", {"data": [{"text": "hi", "files": []}]})
        assert third.status == 429
        assert json.loads(third.body)["error"] == [{"is_valid": False, "message": "Too many requests"}]
        assert asked(running, "/gradio_api/queue/join?", {"data": []}).status == 200


def test_open_webui_s_notes_are_stored_as_often_as_its_page_does(tmp_path: Path):
    with Serving() as backend, limited(tmp_path, backend, "open-webui") as running:
        note = {"title": "t", "data": {"content": {"md": "some words"}}}
        assert {asked(running, "/api/v1/notes/n/update", note).status for _ in range(10)} == {200}
        memory = {"content": "some words"}
        assert [asked(running, "/api/v1/memories/add", memory).status for _ in range(3)] == [200, 200, 429]


def turn(number: int, parent: str | None, text: str = "hi") -> dict[str, object]:
    message = {"id": f"q{number}", "parentId": parent, "content": text}
    return {"parent_id": parent, "user_message": message, "message_ids": [{"message_id": f"a{number}"}]}


def test_open_webui_goes_on_after_refused_messages(stages):
    def heard(*message: object) -> object:
        request, reply, _ = arrived(stages, "open-webui", "/api/chat/completions", turn(*message))
        return (
            json.loads(request.body)["user_message"]["parentId"]
            if request is not None
            else json.loads(reply.body)["detail"]
        )

    assert heard(1, None) is None
    assert heard(2, "a1", LONG) == "The message is too long"
    assert heard(3, "a2", LONG) == "The message is too long"
    assert heard(4, "a3") == "a1"
    assert heard(5, "a4") == "a4"


def test_use_chat_shows_a_sentence(stages):
    _, reply, _ = arrived(
        stages, "vercel-ai", "/api/chat", {"messages": [{"role": "user", "parts": [{"type": "text", "text": LONG}]}]}
    )
    assert (reply.status, reply.body) == (400, b"The message is too long")


def test_an_operation_that_no_route_looks_at_is_recorded(tmp_path: Path):
    routes = [{"name": "run", "match": {"path": "/gradio_api/run/*"}, "message": None}]
    with Serving() as backend:
        kind = {"url": backend.url, "kind": "gradio"}
        with threaded(tmp_path, backend.url, backend=kind, routes=routes) as running:
            assert asked(running, "/gradio_api/run/predict", {"data": [IMG]}).status == 200
            line = running.logged(event="MESSAGE_UNREADABLE")
    assert (line["outcome"], line["detail"]) == ("allowed", {"reason": "no_route_looks", "operation": "gradio-run"})
