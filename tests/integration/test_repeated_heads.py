"""A head that comes again takes a shorter way: the backend, the client and the log must not see a difference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_identity_headers import SECRET, dropped
from tests.integration.test_refused_framing import AMBIGUOUS, HEAD, NEXT
from tests.support.backends import Serving, answer
from tests.support.raw import Message, get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running, sidecar, threaded, until

ROUTES = [
    {"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "message": {"fields": ["$.message"]}},
    {"name": "upload", "match": {"path": "/upload"}},
]
VOLATILE = {b"x-request-id", b"traceparent", b"date"}
TIMES = 4
"""The first time a head is new, the second time it is kept, then it is known."""

REQUESTS = {
    "page": get("/"),
    "page-of-our-origin": get("/", f"Origin: {ORIGIN}", "Sec-Fetch-Site: same-origin", "Accept: text/html"),
    "message": post("/api/chat", b'{"message": "hello"}', f"Origin: {ORIGIN}"),
    "rewritten-message": post("/api/chat", b'{"message": "<b>hello"}', f"Origin: {ORIGIN}"),
    "empty-body": post("/upload", b""),
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "cookies-in-two-lines": get("/", "Cookie: a=1", "Cookie: b=2"),
    "hop-by-hop": get("/", "Connection: X-Gone", "X-Gone: 1", "Keep-Alive: 5", "TE: trailers"),
    "claims": get("/", "X-Forwarded-User: admin", "Remote-User: admin", "X_Forwarded_For: 192.0.2.1"),
    "trace": get("/", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate: a=1"),
    "lost-trace": get("/", "tracestate: a=1"),
    "range": get("/", "Range: bytes=0-1", "Accept-Encoding: gzip, br"),
    "head": get("/", method="HEAD"),
    "old-version": get("/").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "key-of-the-client": get("/", "Authorization: Bearer none-of-ours"),
    "own-id": get("/", "X-Request-ID: mine"),
    "foreign-origin": post("/upload", b"x", "Origin: https://evil.example"),
    "hidden-path": get("/api/%00chat"),
}


def shown(message: Message) -> bytes:
    """Return a message in one text, less what differs each time."""
    lines = [b"%b: %b" % (name, value) for name, value in message.fields if name.lower() not in VOLATILE]
    return b"\n".join([message.start, *lines, re.sub(rb'"request_id":"[^"]*"', b"", message.body)])


@contextmanager
def serving(folder: Path, **sections: object) -> Iterator[tuple[Running, Serving]]:
    with (
        Serving(lambda request: answer(shown(request))) as backend,
        sidecar(folder, backend.url, routes=ROUTES, rate_limits=[], clients={"ban": None}, **sections) as running,
    ):
        yield running, backend


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("repeated")) as (running, _):
        yield running


def exchange(front: Running, raw: bytes) -> bytes:
    """Send one request on a connection of its own; return all that comes back, less what differs each time."""
    method = raw.partition(b" ")[0].decode()
    with front.connect() as client:
        return shown(client.send(raw).response(method))


@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS)
def test_backend_and_client_see_the_same_each_time(front: Running, raw: bytes) -> None:
    first, *others = [exchange(front, raw) for _ in range(TIMES)]
    assert others == [first] * len(others)


def of_client(number: int, *lines: str) -> bytes:
    """Return what a proxy sends for one of its clients; all values are of one length, and none is in another one."""
    own = [
        f"X-Forwarded-For: 198.51.100.{number}",
        f"x-real-ip: 198.51.100.{number}",
        f"Cookie: a=%b%{number}; b=1",
        f"X-Session-ID: 0b0e7e2c-8d5e-4a51-b6a5-0f5a3f4f3{number}",
        f"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4{number}-00f067aa0ba902b7-01",
        f"tracestate: a=1,b={number}",
        f"X-Request-ID: id-{number}",
    ]
    return get("/a%41?b=%62", *own, "X-Forwarded-Proto: https", "X-Last: 100%", *lines)


def test_the_backend_sees_each_client_s_own_values_where_their_heads_are_alike(tmp_path: Path) -> None:
    behind = {"ban": None, "trusted_proxies": ["127.0.0.1"]}
    seen: list[Message] = []
    with Serving() as backend, sidecar(tmp_path, backend.url, routes=ROUTES, clients=behind) as running:
        for number in (101, 101, 101, 102, 103, 101):
            got = exchange(running, of_client(number))
            assert b" 200 " in got
            seen.append(backend.seen[-1])
    first = b"\n".join(b"%b: %b" % field for field in seen[0].fields)
    assert first.count(b"101") == 7
    for number, message in zip((101, 101, 101, 102, 103, 101), seen, strict=True):
        assert message.start == b"GET /a%41?b=%62 HTTP/1.1"
        lines = b"\n".join(b"%b: %b" % field for field in message.fields)
        assert lines == first.replace(b"101", b"%d" % number)


@pytest.mark.parametrize("raw", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous_heads_are_refused_each_time(front: Running, raw: bytes) -> None:
    for _ in range(TIMES):
        with front.connect() as client:
            check_refusal(client.send(raw).response(), 400, "REQUEST_MALFORMED", origin=ORIGIN.encode() in raw)
            assert client.ended()


LENGTHS = {
    "second-length": HEAD + b"Content-Length: %b\r\nContent-Length: 5\r\n\r\nhello" + NEXT,
    "second-length-in-lower-case": HEAD + b"Content-Length: %b\r\ncontent-length: 5\r\n\r\nhello" + NEXT,
    "length-and-chunked": HEAD + b"Content-Length: %b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
}


@pytest.mark.parametrize("raw", LENGTHS.values(), ids=LENGTHS)
def test_another_number_in_a_known_place_makes_no_second_length_pass(front: Running, raw: bytes) -> None:
    for length in (b"5", b"5", b"5", b"6", b"05", b"50"):
        with front.connect() as client:
            check_refusal(client.send(raw % length).response(), 400, "REQUEST_MALFORMED", origin=True)
            assert client.ended()


@pytest.mark.parametrize("odd", [b"", b"+5", b"-5", b"5 5", b"0x5", b"5,5", b"5_0", b"\xb2", b"9" * 20])
def test_what_is_no_number_is_refused_where_numbers_are_known(front: Running, odd: bytes) -> None:
    head = HEAD + b"Content-Length: %b\r\n\r\n"
    for _ in range(TIMES):
        assert b"200 OK" in exchange(front, head % b"5" + b"hello")
    with front.connect() as client:
        assert client.send(head % odd + b"hello").response().status == 400
        assert client.ended()


def test_each_request_has_the_length_of_its_own_body(front: Running) -> None:
    with front.connect() as client:
        for size in (5, 5, 5, 0, 7, 12000, 1, 5):
            message = client.send(post("/upload", b"x" * size)).response()
            assert f"content-length: {size}\n".encode() in message.body.lower() or size == 0
            assert message.status == 200


def test_ids_and_traces_are_new_for_each_request(front: Running) -> None:
    with front.connect() as client:
        ids = [client.send(get("/new")).response().get(b"x-request-id") for _ in range(6)]
    assert len(set(ids)) == 6


def test_claims_are_counted_each_time(tmp_path: Path) -> None:
    with (
        Serving() as backend,
        threaded(tmp_path, backend.url, {"JWT_SECRET": SECRET}) as running,
        running.connect() as client,
    ):
        for _ in range(5):
            client.send(get("/", "Remote-User: root")).response()
        assert dropped(running) == {"remote-user": 5}


def test_another_policy_decides_about_heads_that_are_known(tmp_path: Path) -> None:
    raw = post("/upload", b"x", f"Origin: {ORIGIN}")
    with serving(tmp_path) as (running, _):
        for _ in range(TIMES):
            assert b" 200 " in exchange(running, raw)
        text = running.policy.read_text()
        running.policy.write_text(text.replace(ORIGIN, "https://other.example"))
        until(lambda: b" 403 " in exchange(running, raw), "the new policy to be in force")


def test_a_session_that_ended_is_refused_with_a_known_head(tmp_path: Path) -> None:
    routes = [{"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "session": "required"}]
    with (
        Serving() as backend,
        sidecar(tmp_path, backend.url, routes=routes, sessions={"mode": "issue"}, clients={"ban": None}) as running,
        running.connect() as client,
    ):
        made = json.loads(client.send(post("/api/session", b"", f"Origin: {ORIGIN}")).response().body)
        line = f"X-Session-ID: {made['sessionId']}"
        for _ in range(TIMES):
            assert client.send(post("/api/chat", b"{}", line)).response().status == 200
        client.send(get("/api/session", line, f"Origin: {ORIGIN}", method="DELETE")).response()
        for _ in range(TIMES):
            assert client.send(post("/api/chat", b"{}", line)).response().status == 400
