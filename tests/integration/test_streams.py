"""Streams flow piece by piece, and who leaves is not worked for any longer."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from tests.support.backends import Backend
from tests.support.raw import Closed, Raw, get, post
from tests.support.sidecar import ORIGIN, Running, sidecar

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MESSAGE = post("/api/chat", b'{"message": "hi"}')
SOON = 1.0
"""Seconds in which a backend learns that its client has left (the contract says: within one)."""


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("request_bytes", [pytest.param(get("/events"), id="get"), pytest.param(MESSAGE, id="post")])
def test_each_event_arrives_before_the_next_is_sent(front: Running, backend: Backend, request_bytes: bytes):
    with front.connect() as client:
        client.send(request_bytes)
        peer = backend.accept()
        peer.request()
        peer.send(SSE + CHUNKED)
        head = client.head()
        assert head.get(b"content-type") == b"text/event-stream"
        assert head.get(b"x-accel-buffering") == b"no"
        for number in range(20):
            event = b'id: %d\ndata: {"delta": "word %d"}\n\n' % (number, number)
            peer.send(piece(event))
            assert client.chunk() == event
        peer.send(b": ping\n\n".join([b"8\r\n", b"\r\n0\r\n\r\n"]))
        assert client.chunk() == b": ping\n\n"
        assert client.chunk() == b""


def test_an_event_in_pieces_arrives_once_it_is_complete(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/events"))
        peer = backend.accept()
        peer.request()
        peer.send(SSE + CHUNKED + piece(b"data: begun"))
        client.head()
        peer.send(piece(b" and ended\n") + piece(b"\n"))
        got = b""
        while not got.endswith(b"\n\n"):
            got += client.chunk()
    assert got == b"data: begun and ended\n\n"


def test_pieces_of_an_uninspected_body_arrive_as_they_come(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/picture"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n" + CHUNKED)
        client.head()
        for number in range(5):
            peer.send(piece(b"half %d" % number))
            assert client.chunk() == b"half %d" % number


def test_an_event_stream_until_close_ends_as_complete(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/events"))
        peer = backend.accept()
        peer.request()
        peer.send(SSE + b"\r\n", b"data: 1\n\n")
        client.head()
        assert client.chunk() == b"data: 1\n\n"
        peer.close()
        assert client.chunk() == b""


def test_a_stream_is_counted_while_it_runs(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/events"))
        peer = backend.accept()
        peer.request()
        peer.send(SSE + CHUNKED)
        client.head()
        assert front.metric("sidecar_active_streams", kind="sse") == 1
        assert front.metric("sidecar_active_requests") == 1
        peer.send(b"0\r\n\r\n")
        assert client.chunk() == b""
        assert front.metric("sidecar_active_streams", kind="sse") == 0


def test_a_stream_to_http_1_0_ends_with_its_connection(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(b"GET /events HTTP/1.0\r\nHost: chat.example\r\n\r\n")
        peer = backend.accept()
        peer.request()
        peer.send(SSE + CHUNKED + piece(b"data: 1\n\n"))
        client.head()
        assert client.until(b"\n\n") == b"data: 1\n\n"
        peer.send(b"0\r\n\r\n")
        assert client.rest() == b""
        assert not client.reset


@pytest.mark.parametrize(
    ("accept", "asked"),
    [pytest.param("text/event-stream", b"identity", id="stream"), pytest.param("*/*", b"gzip, br", id="anything")],
)
def test_codings_are_asked_for_that_can_be_opened(front: Running, backend: Backend, accept: str, asked: bytes):
    with front.connect() as client:
        client.send(get("/events", f"Accept: {accept}", "Accept-Encoding: gzip, br, sdch"))
        assert backend.accept().request().all(b"accept-encoding") == [asked]


# --- who leaves -------------------------------------------------------------------------------------


def leave(client: Raw, how: str) -> float:
    if how == "reset":
        client.break_off()
    else:
        client.close()
    return time.monotonic()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_leaving_while_waiting_cancels_the_backends_work(front: Running, backend: Backend, how: str):
    client = front.connect()
    client.send(MESSAGE)
    peer = backend.accept()
    peer.request()
    left = leave(client, how)
    assert peer.ended()
    assert time.monotonic() - left < SOON


@pytest.mark.parametrize("how", ["close", "reset"])
def test_leaving_a_stream_cancels_the_backends_work(front: Running, backend: Backend, how: str):
    client = front.connect()
    client.send(MESSAGE)
    peer = backend.accept()
    peer.request()
    peer.send(SSE + CHUNKED + piece(b"data: 1\n\n"))
    client.head()
    client.chunk()
    left = leave(client, how)
    assert peer.ended()
    assert time.monotonic() - left < SOON


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_leaving_an_upload_cancels_the_backends_work(front: Running, backend: Backend, framing: str, how: str):
    client = front.connect()
    client.send(get("/upload", framing, method="POST"), b"5\r\nhello\r\n")
    peer = backend.accept()
    peer.head()
    peer.until(b"hello")
    left = leave(client, how)
    assert peer.ended()
    assert time.monotonic() - left < SOON
    assert b"0\r\n\r\n" not in peer.buffer  # cut short, never complete


def test_leaving_before_a_backend_is_connected_leaves_nothing(front: Running, backend: Backend):
    for _ in range(20):
        front.connect().send(get("/gone")).break_off()
    with front.connect() as client:
        client.send(get("/here"))
        while True:
            peer = backend.accept()
            with contextlib.suppress(Closed):
                if peer.head().target == b"/here":
                    break
        peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.response().status == 204
    assert front.metric("sidecar_active_requests") == 0


def test_who_leaves_is_logged_as_such_and_is_no_backend_error(front: Running, backend: Backend):
    client = front.connect()
    client.send(post("/api/chat", b'{"message": "leaving"}', "X-Request-ID: x"))
    peer = backend.accept()
    told = (peer.request().get(b"x-request-id") or b"").decode()
    client.close()
    assert front.logged(request_id=told)["status"] == 499
    assert not [line for line in front.lines() if line["request_id"] == told and line["event"] == "CHAT_ERROR"]


# --- answers that break -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "garbage"])
def test_a_stream_that_is_cut_never_looks_complete(front: Running, backend: Backend, how: str):
    with front.connect() as client:
        client.send(MESSAGE[:-17] + b'{"message": "hi"}')
        peer = backend.accept()
        told = (peer.request().get(b"x-request-id") or b"").decode()
        peer.send(SSE + CHUNKED + piece(b"data: 1\n\n"))
        client.head()
        assert client.chunk() == b"data: 1\n\n"
        if how == "garbage":
            peer.send(b"no chunk size\r\n")
        elif how == "reset":
            peer.break_off()
        else:
            peer.close()
        with pytest.raises(Closed) as cut:
            client.chunk()
        assert b"0\r\n" not in cut.value.got
    assert front.logged(request_id=told, event="CHAT_ERROR")["detail"]["code"] == "BACKEND_BROKEN"


def test_a_cut_stream_to_http_1_0_ends_with_a_reset(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(b"GET /events HTTP/1.0\r\nHost: chat.example\r\n\r\n")
        peer = backend.accept()
        peer.request()
        peer.send(SSE + CHUNKED + piece(b"data: 1\n\n"))
        client.head()
        client.until(b"\n\n")
        peer.close()
        assert client.ended()
        assert client.reset  # there is no other sign: the end of the connection is the end of the body


def test_a_client_that_does_not_read_holds_the_backend_back(front: Running, backend: Backend):
    client = front.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    with client:
        client.send(get("/events", f"Origin: {ORIGIN}"))
        peer = backend.accept()
        peer.request()
        peer.send(SSE + CHUNKED)
        peer.sock.settimeout(1.0)
        line, sent = piece(b"data: " + b"x" * 60_000 + b"\n\n"), 0
        with contextlib.suppress(TimeoutError):
            while sent < 64 * 1024 * 1024:
                peer.send(line)
                sent += len(line)
        assert sent < 32 * 1024 * 1024


SHAPE = b"sk_live_" + b"a1b2c3d4e5f6g7h8i9"
"""The shape of a key, which may go on in the next piece: it is decided when the text ends."""


@pytest.mark.parametrize(("mode", "outcome"), [("observe", "observed"), ("enforce", "changed")])
@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson", "text/plain"])
def test_a_key_at_the_end_of_what_had_come_is_reported_when_the_client_leaves(
    tmp_path: Path, mode: str, outcome: str, kind: str
):
    record = b'data: {"delta": "see %s"}\n\n' if kind == "text/event-stream" else b'{"delta": "see %s"}\n'
    with Backend() as backend, sidecar(tmp_path, backend.url, mode=mode) as front:
        with front.connect() as client:
            client.send(get("/events"))
            peer = backend.accept()
            peer.request()
            peer.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n".encode() + CHUNKED + piece(b": hi\n\n"))
            client.head()
            client.chunk()
            peer.send(piece(record % SHAPE))
            if mode == "observe":
                assert client.chunk() == record % SHAPE
            else:
                assert client.silent()
            assert not [line for line in front.lines() if line["event"] == "SECRET_REDACTED"]
        assert front.logged(event="SECRET_REDACTED", outcome=outcome)["detail"] == {"stripe": 1}
