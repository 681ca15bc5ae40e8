"""An exchange that waits at each stage says and records what one does that waits for nothing."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_websockets import HANDSHAKE, switching
from tests.support.backends import Backend, answer
from tests.support.raw import Message, Raw, get, post
from tests.support.sidecar import ORIGIN, Running, threaded

PAGE = f"Origin: {ORIGIN}"
ROUTES = [
    {"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "message": {"fields": ["$.message"]}},
    {"name": "small", "match": {"path": "/small"}, "max_body": "1KiB"},
]
CHANGES = re.compile(
    rb"00-[0-9a-f]{32}-[0-9a-f]{16}-\d\d|[0-9a-f]{28}|\d\d:\d\d:\d\d(?:\.\d+Z| GMT)|\bt=\d+|127\.0\.0\.1:\d+"
)
SSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
)
CHUNKED = get("/up", PAGE, "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"
JSON = answer(b'{"reply": "hi", "usage": {"total_tokens": 1}}', content_type="application/json")
CASES: dict[str, tuple[bytes, bytes]] = {
    "get": (get("/", PAGE), answer(b"hello")),
    "head": (get("/", PAGE, method="HEAD"), answer(b"", "Content-Length: 5", length=False)),
    "not modified": (get("/", PAGE), b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
    "message": (post("/api/chat", b'{"message": "hi"}', PAGE), JSON),
    "rewritten message": (post("/api/chat", b'{"message": "<script>"}', PAGE), JSON),
    "refused message": (post("/api/chat", b'{"message": 1}', PAGE), b""),
    "body that streams": (post("/up", b"x" * 3000, PAGE), answer(b"took it")),
    "chunked body": (CHUNKED, answer(b"took it")),
    "body too large": (post("/small", b"x" * 2000, PAGE), b""),
    "foreign origin": (get("/", "Origin: https://evil.example"), b""),
    "preflight": (get("/api/chat", PAGE, "Access-Control-Request-Method: POST", method="OPTIONS"), b""),
    "no readable head": (b"GET / HTTP/9.9\r\n\r\n", b""),
    "stream": (get("/events", PAGE), SSE),
    "failure": (get("/", PAGE), answer(b"stack", status="500 Oh")),
    "garbage": (get("/", PAGE), b"garbage\r\n\r\n"),
    "early hints": (get("/", PAGE), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(b"hello")),
    "cookies": (get("/", PAGE), answer(b"hello", "Set-Cookie: a=b", "Set-Cookie: c=d")),
}


def plain(message: Message) -> tuple[object, ...]:
    """Return a message without what differs from one request to the next."""
    fields = sorted(CHANGES.sub(b"*", b": ".join(field)) for field in message.fields)
    inner = tuple(plain(each) for each in message.interim)
    return (CHANGES.sub(b"*", message.start), fields, CHANGES.sub(b"*", message.body), inner)


def served(running: Running, backend: Backend, raw: bytes, reply: bytes) -> tuple[object, ...]:
    """Return what the client, the backend and the log saw of one request."""
    told: list[object] = []
    with running.connect() as client:
        client.send(raw)
        if reply:
            peer = backend.accept()
            told.append(plain(peer.request()))
            peer.send(reply)
        method = raw.split(b" ")[0].decode()
        message = client.response(method)
        told.append(plain(message))
    name = (message.get(b"x-request-id") or b"").decode()
    deadline = time.monotonic() + 10
    while not (lines := [line for line in running.lines() if line["request_id"] == name and line["status"]]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    keys = ("level", "category", "event", "outcome", "client_ip", "route", "method", "path", "status")
    backend.forget()
    return (*told, sorted(str([line[key] for key in keys]) for line in lines))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Running, Backend]]]:
    with contextlib.ExitStack() as stack:
        pairs = []
        for paused in (False, True):
            backend = stack.enter_context(Backend())
            folder: Path = tmp_path_factory.mktemp("paused")
            sections = {"routes": ROUTES, "paused": paused}
            pairs.append((stack.enter_context(threaded(folder, backend.url, **sections)), backend))
        yield pairs


@pytest.mark.parametrize(("raw", "reply"), CASES.values(), ids=CASES)
def test_both_say_the_same(both: list[tuple[Running, Backend]], raw: bytes, reply: bytes) -> None:
    straight, paused = (served(running, backend, raw, reply) for running, backend in both)
    assert straight == paused


def test_sockets_are_opened_by_both(both: list[tuple[Running, Backend]]) -> None:
    for running, backend in both:
        with running.connect() as client:
            client.send(get("/ws", *HANDSHAKE, PAGE))
            peer: Raw = backend.accept()
            peer.send(switching(peer.request()))
            assert client.head().status == 101
        backend.forget()


def test_both_count_the_same(both: list[tuple[Running, Backend]]) -> None:
    """After the tests above: every counter of requests and events."""
    names = ("sidecar_requests_total", "sidecar_security_events_total", "sidecar_rate_limit_decisions_total")
    counted = []
    for running, _ in both:
        lines = running.fetch("/metrics")[1].splitlines()
        counted.append(sorted(line for line in lines if line.startswith(names)))
    assert counted[0] == counted[1]
