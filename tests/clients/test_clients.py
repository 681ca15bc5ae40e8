"""Unmodified backends and their own clients, with the sidecar between them.

Each client says something plain, something with markup, something too long, and then speaks until it
is too much. What it reads of a refusal must be its own error.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.test_suggestions import OBSERVE, suggest
from tests.support.clients import CLEANED, MARKUP, MOST, NODE_MODULES, PYTHON, Backend, facts, need_clients
from tests.support.sidecar import MASTER, Running, threaded

Talk = Callable[..., dict[str, Any]]


def route(protocol: str, path: str, limit: int = 12, **more: Any) -> dict[str, Any]:
    name = f"{protocol}-{path.strip('/').replace('/', '-').replace('*', 'x').replace('.', '-')}"
    burst = {"name": f"{name}-burst", "per": "ip", "limit": limit, "window": "1h"}
    message = {"max_chars": MOST}
    return {
        "name": name,
        "match": {"path": path, "methods": ["POST"]},
        "protocol": protocol,
        "message": message,
        "rate_limits": [burst],
        **more,
    }


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Backend]]:
    """All start together: some take their time, and the tests of the others go on meanwhile."""
    need_clients(PYTHON, NODE_MODULES)
    names = ("scripted", "gradio_app", "chainlit", "node")
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(contextlib.closing(Backend(tmp_path_factory.mktemp(name), name)))
            for name in names
        }


@contextlib.contextmanager
def stage(backend: Backend, /, **sections: Any) -> Iterator[tuple[Talk, Running]]:
    with (
        tempfile.TemporaryDirectory(dir=backend.folder) as own,
        threaded(Path(own), backend.url, **sections) as front,
    ):

        def talk(driver: str, path: str = "") -> dict[str, Any]:
            return facts(backend.folder, driver, f"http://127.0.0.1:{front.public}{path}")

        yield talk, front


@contextlib.contextmanager
def as_kind(backend: Backend, kind: str, limit: int) -> Iterator[Talk]:
    """Put the sidecar in front with a kind and no route, as the pages of `docs/backends/` say."""
    burst = {"name": "burst", "per": "ip", "limit": limit, "window": "1h"}
    sections = {"backend": {"kind": kind}, "message": {"max_chars": MOST}, "rate_limits": [burst]}
    with stage(backend, **sections) as (talk, front):
        yield talk
        looked_at = [line for line in front.lines() if line["event"] == "CHAT_MESSAGE_PROCESSED"]
    assert {line["route"].startswith(kind) for line in looked_at} == {True}


def text(said: str | list[str]) -> str:
    if isinstance(said, list):
        assert len(said) > 1, "streamed in one piece"
        return "".join(said)
    return said


def check_talk(found: dict[str, Any], hello: str = "You said: hello", markup: str = f"You said: {CLEANED}") -> None:
    """What was said arrived, streamed or not, and markup arrived harmless."""
    assert [text(said) for said in found["plain"]] == [hello] * len(found["plain"])
    assert [text(said) for said in found["markup"]] == [markup] * len(found["markup"])


def check_refusals(found: dict[str, Any], **kinds: dict[str, str]) -> None:
    """Each way of speaking raised the client's own error: its class, and what it has of the refusal."""
    for fact, told in kinds.items():
        for heard in found[fact]:
            assert isinstance(heard, dict), f"{fact}: not refused: {heard}"
            error = heard["error"]
            for name, value in told.items():
                assert value in error[name], (fact, name, error)


def check_openai(found: dict[str, Any]) -> None:
    check_talk(found)
    check_refusals(
        found,
        too_long={"classes": "openai.BadRequestError", "code": "MESSAGE_TOO_LONG", "text": "The message is too long"},
        limited={"classes": "openai.RateLimitError", "code": "RATE_LIMIT_EXCEEDED", "text": "Too many requests"},
    )
    assert all(heard["error"]["request"] for heard in found["limited"])


def check_anthropic(found: dict[str, Any]) -> None:
    check_talk(found)
    check_refusals(
        found,
        too_long={"classes": "anthropic.BadRequestError", "type": "invalid_request_error", "text": "MESSAGE_TOO_LONG"},
        limited={"classes": "anthropic.RateLimitError", "type": "rate_limit_error", "text": "Too many requests"},
    )


def check_chatkit(found: dict[str, Any]) -> None:
    check_talk(found)
    check_refusals(
        found,
        too_long={"text": "400 danger: The message is too long; retry: False"},
        limited={"text": "429 danger: Too many requests; retry: True"},
    )


CHECKS = {"openai": check_openai, "anthropic": check_anthropic, "chatkit": check_chatkit}


@pytest.mark.parametrize("client", CHECKS)
def test_client(backends: dict[str, Backend], client: str):
    with as_kind(backends["scripted"], client, 22) as talk:
        CHECKS[client](talk(f"{client}_client"))


def test_recognised_clients(backends: dict[str, Backend]):
    """One route for all, whose protocol is `auto`: each client still gets what it understands."""
    burst = {"name": "burst", "per": "ip", "limit": 22, "window": "1h"}
    every = {**route("auto", "/*"), "name": "all", "rate_limits": [burst]}
    for client, check in CHECKS.items():
        with stage(backends["scripted"], routes=[every]) as (talk, _):
            check(talk(f"{client}_client"))


def test_langgraph(backends: dict[str, Backend]):
    with as_kind(backends["scripted"], "langgraph", 20) as talk:
        found = talk("langgraph_client")
    check_talk(found)
    # Its `wait` raises what its own errors are made of; so it does without us.
    waited, streamed = ({fact: heard[at : at + 1] for fact, heard in found.items()} for at in (0, 1))
    check_refusals(waited, too_long={"classes": "httpx.HTTPStatusError", "text": "400"})
    check_refusals(waited, limited={"classes": "httpx.HTTPStatusError", "text": "Too many requests"})
    check_refusals(streamed, too_long={"classes": "langgraph_sdk.BadRequestError", "text": "The message is too long"})
    check_refusals(streamed, limited={"classes": "langgraph_sdk.RateLimitError", "text": "Too many requests"})


def test_mcp(backends: dict[str, Backend]):
    with as_kind(backends["scripted"], "mcp", 20) as talk:
        found = talk("mcp_client")
    check_talk(found, markup=f"You said: {MARKUP}")  # arguments of tools are data
    check_refusals(
        found,
        too_long={"classes": "httpx.HTTPStatusError", "text": "400 Bad Request"},
        limited={"classes": "httpx.HTTPStatusError", "text": "429 Too Many Requests"},
    )


@pytest.mark.parametrize(
    ("protocol", "path", "driver"), [("vercel-ai", "/api/chat", "chat.mjs"), ("ag-ui", "/agent", "agent.mjs")]
)
def test_javascript_clients(backends: dict[str, Backend], protocol: str, path: str, driver: str):
    with as_kind(backends["node"], protocol, 12) as talk:
        found = talk(driver, path)
    assert found["plain"]["text"] == "You said: hello"
    assert found["plain"]["pieces"] > 1
    assert found["markup"]["text"] == f"You said: {CLEANED}"
    says = {"too_long": "The message is too long", "limited": "Too many requests"}
    for fact, sentence in says.items():
        assert sentence in found[fact]["error"]["text"], found[fact]
    assert protocol != "vercel-ai" or found["limited"]["error"]["text"] == says["limited"]
    assert protocol != "vercel-ai" or found["limited"]["status"] == "error"


def test_chainlit(backends: dict[str, Backend]):
    routes = [{**route("chainlit", "/ws/socket.io/*", 40), "match": {"path": "/ws/socket.io/*"}}]
    with stage(backends["chainlit"], routes=routes) as (talk, _):
        found = talk("chainlit_client")
    check_talk(found)
    # Over a WebSocket the conversation shows why; over polling the POST is refused, and the client gets no more.
    error = found["too_long"][0]["error"]
    assert ("__main__.Refused" in error["classes"], error["text"]) == (True, "The message is too long")
    assert "error" in found["too_long"][1]
    assert "Too many requests" in found["limited"][0]["error"]["text"]
    assert "error" in found["limited"][1]


def test_gradio(backends: dict[str, Backend]):
    routes = [route("gradio", "/gradio_api/queue/join", 8), route("gradio", "/gradio_api/call/*")]
    with stage(backends["gradio_app"], routes=routes) as (talk, _):
        found = talk("gradio_talk")
    check_talk(found)
    check_refusals(
        found,
        too_long={"classes": "httpx.HTTPStatusError", "text": "400 Bad Request"},
        limited={"classes": "httpx.HTTPStatusError", "text": "429 Too Many Requests"},
    )


# --- what `sidecar suggest` finds without a kind ----------------------------------------------------

FOUND = {
    "openai_client": {
        ("/v1/chat/completions", "$.messages[*].content"),
        ("/api/chat/completions", "$.messages[*].content"),
        ("/v1/responses", "$.input"),
    },
    "anthropic_client": {("/v1/messages", "$.messages[*].content")},
    "chatkit_client": {("/chatkit", "$.params.input.content[*].text")},
    "langgraph_client": {
        ("/threads/*/runs/wait", "$.input.messages[*].content"),
        ("/threads/*/runs/stream", "$.input.messages[*].content"),
    },
    "mcp_client": {("/mcp", "$.params.arguments.text")},
    "chat.mjs": {("/api/chat", "$.messages[*].parts[*].text")},
    "agent.mjs": {("/agent", "$.messages[*].content")},
}


@pytest.mark.parametrize("server", ["scripted", "node"])
def test_the_text_places_of_clients_are_found(backends: dict[str, Backend], server: str):
    backend = backends[server]
    with (
        tempfile.TemporaryDirectory(dir=backend.folder) as own,
        threaded(Path(own), backend.url, {"JWT_SECRET": MASTER}, **OBSERVE) as front,
    ):
        drivers = [driver for driver in FOUND if driver.endswith(".mjs") is (server == "node")]
        for driver in drivers:
            path = {"chat.mjs": "/api/chat", "agent.mjs": "/agent"}.get(driver, "")
            facts(backend.folder, driver, f"http://127.0.0.1:{front.public}{path}", many=4)
        routes = suggest(front.policy)["routes"]
    found = {(route["path"], place["path"]) for route in routes for place in route["places"] if place["sure"]}
    assert set().union(*(FOUND[driver] for driver in drivers)) - found == set()
