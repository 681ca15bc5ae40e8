"""Two people at one backend: a conversation belongs to the one whose session first saw it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.backends import Serving, answer
from tests.support.browsers import Browser
from tests.support.raw import Message
from tests.support.sidecar import Running, threaded

FORBIDDEN = (403, "FORBIDDEN")
BEFORE = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"


def backend_reply(message: Message) -> bytes:
    """Speak as each protocol does where conversations begin; say yes to everything."""
    path = message.target.decode().partition("?")[0]
    body: Any = json.loads(message.body) if message.body[:1] == b"{" else {}
    new = str(uuid.uuid4())
    if path == "/api/chat":
        return as_json({"reply": "hi", "conversationId": body.get("conversationId") or new})
    if path == "/api/stream":
        chunks = b'data: {"type": "thread.created", "thread": {"id": "%b"}}\n\ndata: {"type": "x"}\n\n' % new.encode()
        return answer(chunks, content_type="text/event-stream")
    if path == "/threads":
        return as_json({"thread_id": new})
    if path == "/api/conversations" and message.start.startswith(b"POST"):
        return as_json({"id": 4711})
    if path == "/mcp":
        headers = [f"Mcp-Session-Id: {new}"] if not message.get(b"mcp-session-id") else []
        return answer(b'{"jsonrpc": "2.0", "id": 1, "result": {}}', *headers, content_type="application/json")
    return as_json({"ok": True})


def as_json(value: Any) -> bytes:
    return answer(json.dumps(value).encode(), content_type="application/json")


def route(name: str, path: str, protocol: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "match": {"path": path}, "protocol": protocol, "session": "required"} | more


ROUTES = [
    route("plain", "/api/chat", "plain", message={}),
    route("chatkit", "/api/stream", "chatkit", message={}),
    route("langgraph", "/threads/*", "langgraph"),
    route("vercel", "/ai/*", "vercel-ai", message={}),
    route("gradio", "/gradio_api/*", "gradio"),
    route("mcp", "/mcp", "mcp", message={}),
    route("watched", "/watched", "plain", message={}, observe=["ownership"]),
    {"name": "loose", "match": {"path": "/loose"}, "protocol": "plain", "message": {}},
]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    sections = {"sessions": {"mode": "issue"}, "ownership": {"mode": "enforce"}, "routes": ROUTES}
    with (
        Serving(backend_reply) as backend,
        threaded(tmp_path_factory.mktemp("owned"), backend.url, **sections) as running,
    ):
        yield running


@pytest.fixture
def two(front: Running) -> tuple[Browser, Browser]:
    one, other = Browser(front), Browser(front)
    one.session()
    other.session()
    return one, other


def say(browser: Browser, conversation: Any, path: str = "/api/chat") -> tuple[int, str]:
    return browser.ask("POST", path, {"message": "hi", "conversationId": conversation}).said


def test_a_conversation_of_ones_own(two) -> None:
    one, other = two
    mine = one.ask("POST", "/api/chat", {"message": "hi"}).json()["conversationId"]
    assert say(one, mine) == (200, "")
    assert say(other, mine) == FORBIDDEN


SPELLINGS = {
    "capitals": str.upper,
    "without hyphens": lambda text: text.replace("-", ""),
    "in braces": lambda text: "{" + text + "}",
    "blanks": lambda text: f" {text} ",
    "in a list": lambda text: [text],
    "in an object": lambda text: {"id": text},
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_other_spellings_open_nothing(two, spelled) -> None:
    one, other = two
    mine = one.ask("POST", "/api/chat", {"message": "hi"}).json()["conversationId"]
    assert say(other, spelled(mine))[0] in (400, 403)


def test_other_names_open_nothing(two) -> None:
    one, other = two
    mine = one.ask("POST", "/api/chat", {"message": "hi"}).json()["conversationId"]
    for name in ("thread_id", "conversation_id", "ConversationID"):
        assert other.ask("POST", "/api/chat", {"message": "hi", name: mine}).status in (400, 403), name
    assert other.ask("POST", f"/api/chat?conversationId={mine}", {"message": "hi"}).said == FORBIDDEN
    assert other.ask("POST", f"/api/chat?conversation%49d={mine}", {"message": "hi"}).said == FORBIDDEN


def test_a_conversation_from_before_has_no_owner(two, front: Running) -> None:
    assert say(two[0], BEFORE) == FORBIDDEN
    detail = {"reason": "unknown conversation", "protocol": "plain", "code": "FORBIDDEN"}
    front.logged(event="AUTH_FAILED", outcome="refused", route="plain", detail=detail)
    assert BEFORE not in json.dumps(front.lines())


def test_events_teach_too(two) -> None:
    one, other = two
    body = {"type": "threads.create", "params": {"input": {"content": [{"type": "input_text", "text": "hi"}]}}}
    stream = one.ask("POST", "/api/stream", body).message.body
    thread = json.loads(stream.split(b"\n", 1)[0][6:])["thread"]["id"]
    named = {"type": "threads.add_user_message", "params": {**body["params"], "thread_id": thread}}
    assert one.ask("POST", "/api/stream", named).status == 200
    assert other.ask("POST", "/api/stream", named).status == 403


def test_ids_in_paths(two) -> None:
    one, other = two
    thread = one.ask("POST", "/threads", {}).json()["thread_id"]
    assert one.ask("GET", f"/threads/{thread}/state").status == 200
    assert one.ask("POST", f"/threads/{thread}/runs/stream", {"input": {}}).status == 200
    assert one.ask("POST", "/threads/search", {}).status == 200
    encoded = "".join(f"%{ord(char):02x}" for char in thread)
    for path in (f"/threads/{thread}/state", f"/threads/{encoded}/state", f"/threads/x/../{thread.upper()}/history"):
        assert other.ask("GET", path).said == FORBIDDEN, path
    assert other.ask("DELETE", f"/threads/{thread}").said == FORBIDDEN


def test_a_plain_resource(two) -> None:
    """Without a route of its own, and with ids that could be counted through."""
    one, other = two
    assert one.ask("GET", "/api/conversations/4711").said == FORBIDDEN
    assert one.ask("POST", "/api/conversations").json() == {"id": 4711}
    assert one.ask("GET", "/api/conversations/4711/messages").status == 200
    assert other.ask("GET", "/api/conversations/4711").said == FORBIDDEN
    assert other.ask("GET", "/api/conversations/04711").said == FORBIDDEN
    assert other.ask("GET", "/api/conversations").status == 200


def test_ids_that_clients_invent(two) -> None:
    """To name a new one is how a conversation begins; from then on it is taken."""
    one, other = two
    for number, (method, path_of, body_of) in enumerate(
        [
            ("POST", "/ai/chat", {"id": "chat-{}", "messages": []}),
            ("POST", "/gradio_api/queue/join", {"data": ["hi"], "session_hash": "hash-{}"}),
            ("GET", "/gradio_api/queue/data?session_hash=hash-{}", None),
            ("GET", "/ai/chat/chat-{}/stream", None),
        ]
    ):
        path, body = path_of.format(number), json.loads(json.dumps(body_of).replace("{}", str(number)))
        assert one.ask(method, path, body).status == 200, path
        assert other.ask(method, path, body).status == 403, path


def test_an_id_in_a_header(two) -> None:
    one, other = two
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": {"text": "hi"}}}
    given = one.ask("POST", "/mcp", call).message.get(b"Mcp-Session-Id")
    assert given is not None
    assert one.ask("POST", "/mcp", call, Mcp_Session_Id=given.decode()).status == 200
    assert other.ask("POST", "/mcp", call, Mcp_Session_Id=given.decode()).status == 403


def test_renewing_takes_conversations_along(two) -> None:
    one, other = two
    mine = one.ask("POST", "/api/chat", {"message": "hi"}).json()["conversationId"]
    one.session()
    assert say(one, mine) == (200, "")
    assert say(other, mine) == FORBIDDEN


def test_logging_out_leaves_them_without_an_owner(two) -> None:
    one, other = two
    mine = one.ask("POST", "/api/chat", {"message": "hi"}).json()["conversationId"]
    one.ask("DELETE", "/api/session")
    one.session()
    assert say(one, mine) == say(other, mine) == FORBIDDEN


def test_without_a_session(two, front: Running) -> None:
    mine = two[0].ask("POST", "/api/chat", {"message": "hi"}).json()["conversationId"]
    unknown = Browser(front)
    assert say(unknown, mine, "/loose") == FORBIDDEN
    assert say(unknown, BEFORE, "/loose") == FORBIDDEN
    assert unknown.ask("POST", "/loose", {"message": "hi"}).status == 200


def test_observing(two, front: Running) -> None:
    mine = two[0].ask("POST", "/api/chat", {"message": "hi"}).json()["conversationId"]
    assert say(two[1], mine, "/watched")[0] == 200
    detail = {"reason": "conversation of another session", "protocol": "plain"}
    would_be = {"guard": "ownership", "code": "FORBIDDEN", "would_be": 403}
    front.logged(event="AUTH_FAILED", outcome="observed", route="watched", detail=detail | would_be)


def test_adoption(tmp_path_factory: pytest.TempPathFactory) -> None:
    sections = {"sessions": {"mode": "issue"}, "ownership": {"mode": "enforce", "adopt": True}, "routes": ROUTES}
    with (
        Serving(backend_reply) as backend,
        threaded(tmp_path_factory.mktemp("adopt"), backend.url, **sections) as running,
    ):
        one, other = Browser(running), Browser(running)
        one.session()
        other.session()
        assert say(Browser(running), BEFORE, "/loose")[0] == 200  # still without an owner
        assert say(one, BEFORE) == (200, "")
        assert say(one, BEFORE.upper()) == (200, "")
        for spelled in (BEFORE, BEFORE.upper(), BEFORE.replace("-", "")):
            assert say(other, spelled) == FORBIDDEN
        assert say(one, 42) == (200, "")
        assert say(other, "42") == say(other, "+042") == FORBIDDEN
        assert say(Browser(running), 42, "/loose") == FORBIDDEN
