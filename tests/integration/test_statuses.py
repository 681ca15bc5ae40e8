"""Statuses that say exactly what was wrong with a request, and how clients are told what is worth repeating."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.backends import Backend, Serving, answer
from tests.support.raw import get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import Running, threaded

PAGE = "Origin: https://app.example"
HANDSHAKE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]

WRONG = {
    "long target": (get("/" + "a" * 9 * 1024, PAGE), 414, "TARGET_TOO_LONG"),
    "target longer than a head may be": (get("/" + "a" * 40 * 1024, PAGE), 414, "TARGET_TOO_LONG"),
    "long head": (get("/", PAGE, "X-A: " + "a" * 40 * 1024), 431, "HEADERS_TOO_LARGE"),
    "HTTP/1.0 without a length": (
        get("/", PAGE, method="POST").replace(b"HTTP/1.1", b"HTTP/1.0"),
        411,
        "LENGTH_REQUIRED",
    ),
    "an expectation": (get("/", PAGE, "Expect: 200-maybe"), 417, "EXPECTATION_FAILED"),
}


@pytest.mark.parametrize(("raw", "status", "code"), WRONG.values(), ids=WRONG)
def test_what_was_wrong(front: Running, raw: bytes, status: int, code: str):
    with front.connect() as client:
        reply = client.send(raw).response()
        # Of a head without an end only the beginning is read, where Origin need not stand.
        check_refusal(reply, status, code, origin=b"target" not in code.lower().encode() or len(raw) < 40_000)
        assert reply.get(b"x-should-retry") == b"false"


def test_another_version_of_websockets(front: Running, backend: Backend):
    with front.connect() as client:
        reply = client.send(get("/ws", PAGE, *HANDSHAKE, "Sec-WebSocket-Version: 8")).response()
        check_refusal(reply, 426, "UPGRADE_REQUIRED")
        assert (reply.get(b"upgrade"), reply.get(b"sec-websocket-version")) == (b"websocket", b"13")
        assert reply.get(b"connection") == b"Upgrade"
        client.send(get("/next"))  # the connection goes on
        peer = backend.accept()
        assert peer.request().target == b"/next"


def test_long_targets_never_make_a_ban(tmp_path: Path):
    ban = {"strikes": 3, "within": "1m", "for": "15m"}
    with Serving() as backend, threaded(tmp_path, backend.url, clients={"ban": ban}) as running:
        for _ in range(11):
            with running.connect() as client:
                assert client.send(get("/" + "a" * 9 * 1024)).response().status == 414
        with running.connect() as client:
            assert client.send(get("/")).response().status == 200


PROVIDER = [
    "x-should-retry: false",
    "retry-after-ms: 2500",
    "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT",
    "request-id: req_011CSHoEeqs5C35K2UUqR7Fy",
    "apim-request-id: 6b7d2c",
    "x-ratelimit-remaining-tokens: 149984",
    "anthropic-ratelimit-requests-reset: 2026-10-21T07:28:00Z",
]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oops", "503 Service Unavailable", "529 Overloaded"])
def test_what_a_provider_says_of_repeating_passes(front: Running, backend: Backend, status: str):
    with front.connect() as client:
        client.send(get("/", PAGE))
        peer = backend.accept()
        peer.request()
        peer.send(answer(b"stack trace", *PROVIDER, "X-Secret-Node: 7", status=status))
        reply = client.response()
    assert reply.status == int(status[:3])
    for line in PROVIDER:
        name, _, value = line.partition(": ")
        assert reply.get(name.encode()) == value.encode()
    if reply.status >= 500:
        assert b"stack" not in reply.body
        assert b"x-secret-node" not in reply.names()
    exposed = reply.get(b"access-control-expose-headers") or b""
    assert b"retry-after-ms" in exposed
    assert b"x-should-retry" in exposed
    line = front.logged(category="ACCESS", request_id=reply.get(b"x-request-id").decode())
    assert line["detail"]["provider_request_id"] == "req_011CSHoEeqs5C35K2UUqR7Fy"


ADVICE = {
    "too large": (post("/small", b"x" * 2000, PAGE), 413, b"false"),
    "foreign page": (post("/api/chat", b"{}", "Origin: https://evil.example"), 403, b"false"),
    "message that is none": (post("/api/chat", b'{"message": 5}', PAGE), 400, b"false"),
}


@pytest.mark.parametrize(("raw", "status", "said"), ADVICE.values(), ids=ADVICE)
def test_our_own_refusals_say_whether_to_repeat(front: Running, raw: bytes, status: int, said: bytes):
    with front.connect() as client:
        reply = client.send(raw).response()
        assert (reply.status, reply.get(b"x-should-retry")) == (status, said)


def test_a_request_that_the_backend_has_is_not_worth_repeating(tmp_path: Path):
    with (
        Backend() as backend,
        threaded(tmp_path, backend.url, backend={"timeouts": {"first_byte": "200ms"}}) as running,
        running.connect() as client,
    ):
        client.send(post("/v1/chat/completions", b"{}"))
        backend.accept().request()
        reply = client.response()
        assert (reply.status, reply.get(b"x-should-retry")) == (504, b"false")


def test_a_backend_that_cannot_be_reached_may_be_asked_again(tmp_path: Path):
    with Backend() as backend:
        url = backend.url
    with threaded(tmp_path, url) as running, running.connect() as client:
        reply = client.send(post("/v1/chat/completions", b"{}")).response()
        assert (reply.status, reply.get(b"x-should-retry")) == (502, None)
