"""What an attacker tries with origins, hosts and sessions against a running sidecar; docs/security-review.md lists it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import get, post
from tests.support.sidecar import Running, threaded

BODY = b'{"message":"hi"}'
SECTIONS = {
    "cors": {"allowed_origins": ["https://page.example"]},
    "sessions": {"mode": "issue", "in": ["header:X-Session-ID", "cookie:__Host-session", "body:$.sessionId"]},
    "clients": {"ban": None},
    "rate_limits": [{"name": "many", "per": "ip", "limit": 100_000, "window": "1m", "counts": "all"}],
    "routes": [
        {
            "name": "chat",
            "match": {"path": "/api/chat", "methods": ["POST"]},
            "message": {"fields": ["$.message"]},
            "session": "required",
        }
    ],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Backend, str, str]]:
    folder: Path = tmp_path_factory.mktemp("attacked")
    with Backend() as backend, threaded(folder, backend.url, **SECTIONS) as front:
        yield front, backend, session(front), session(front)


def session(front: Running) -> str:
    with front.connect() as client:
        client.send(get("/api/session", "Content-Length: 0", method="POST"))
        return str(json.loads(client.response().body)["sessionId"])


def code(front: Running, backend: Backend, raw: bytes, source: str, *, passes: bool) -> str:
    """Send a request; return the refusal's code, or `passes` when the backend heard it."""
    with front.connect(source) as client:
        client.send(raw)
        if passes:
            peer = backend.accept()
            peer.request()
            peer.send(answer(b"fine"))
        response = client.response()
    assert backend.untouched(0.02) if not passes else True
    backend.forget()
    return "passes" if response.status == 200 else str(json.loads(response.body)["code"])


def chat(*lines: str, body: Any = None) -> bytes:
    return post("/api/chat", BODY if body is None else json.dumps({"message": "hi", **body}).encode(), *lines)


def form(*lines: str) -> bytes:
    kind = "Content-Type: application/x-www-form-urlencoded"
    return get("/api/chat", kind, "Content-Length: 10", *lines, method="POST") + b"message=hi"


# name → (request of two sessions, what comes of it, the client's address)
TRIES = {
    "a session's own header": (lambda one, two: chat(f"X-Session-ID: {one}"), "passes", "127.0.0.1"),
    "fixation: an id of the right form": (lambda one, two: chat(f"X-Session-ID: {one[:-6]}AAAAAA"), "INVALID_SESSION_ID", "127.0.0.1"),
    "no session": (lambda one, two: chat(), "INVALID_SESSION_ID", "127.0.0.1"),
    "header of one, body of another": (lambda one, two: chat(f"X-Session-ID: {one}", body={"sessionId": two}), "INVALID_SESSION_ID", "127.0.0.1"),
    "header of one, cookie of another": (lambda one, two: chat(f"X-Session-ID: {one}", f"Cookie: __Host-session={two}"), "INVALID_SESSION_ID", "127.0.0.1"),
    "two spellings in the body": (lambda one, two: chat(body={"sessionId": one, "SessionId": two}), "INVALID_SESSION_ID", "127.0.0.1"),
    "a NUL behind the name in the body": (lambda one, two: chat(body={"sessionId": one, "sessionId\0": two}), "INVALID_SESSION_ID", "127.0.0.1"),
    "a blank behind the name in the body": (lambda one, two: chat(body={"sessionId": one, "sessionId ": two}), "INVALID_SESSION_ID", "127.0.0.1"),
    "two headers": (lambda one, two: chat(f"X-Session-ID: {one}", f"X-Session-ID: {two}"), "REQUEST_MALFORMED", "127.0.0.1"),
    "a tossed cookie in front": (lambda one, two: chat(f"Cookie: __Host-session=x; __Host-session={one}"), "INVALID_SESSION_ID", "127.0.0.1"),
    "a tossed cookie behind": (lambda one, two: chat(f"Cookie: __Host-session={one}; __Host-session=x"), "INVALID_SESSION_ID", "127.0.0.1"),
    "from another network": (lambda one, two: chat(f"X-Session-ID: {one}"), "INVALID_SESSION_ID", "127.0.1.5"),
    "origin null": (lambda one, two: chat("Origin: null", f"X-Session-ID: {one}"), "CORS_BLOCKED", "127.0.0.1"),
    "origin with user information": (lambda one, two: get("/", "Origin: http://chat.example@evil", host="chat.example@evil"), "REQUEST_MALFORMED", "127.0.0.1"),
    "same IPv6 address and port": (lambda one, two: get("/", "Origin: http://[::1]:8080", host="[::1]:8080"), "passes", "127.0.0.1"),
    "another port": (lambda one, two: get("/", "Origin: http://[::1]:8081", host="[::1]:8080"), "CORS_BLOCKED", "127.0.0.1"),
    "the host with a suffix": (lambda one, two: get("/", "Origin: http://chat.example.evil.example"), "CORS_BLOCKED", "127.0.0.1"),
    "the host with a trailing dot": (lambda one, two: get("/", "Origin: http://chat.example."), "CORS_BLOCKED", "127.0.0.1"),
    "a form of another site": (lambda one, two: form("Sec-Fetch-Site: cross-site", f"Cookie: __Host-session={one}"), "CSRF_BLOCKED", "127.0.0.1"),
    "a form of a sibling": (lambda one, two: form("Sec-Fetch-Site: same-site", f"Cookie: __Host-session={one}"), "CSRF_BLOCKED", "127.0.0.1"),
    "an upgrade that is none": (lambda one, two: get("/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"), "REQUEST_MALFORMED", "127.0.0.1"),
    # Left open by default: with `requests.hosts` empty every name is served (DNS rebinding).
    "rebinding: a foreign name of our address": (lambda one, two: get("/", "Origin: http://evil.example", host="evil.example"), "passes", "127.0.0.1"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRIES)
def test_what_comes_of_it(served: tuple[Running, Backend, str, str], name: str):
    front, backend, one, two = served
    build, expected, source = TRIES[name]
    assert code(front, backend, build(one, two), source, passes=expected == "passes") == expected
