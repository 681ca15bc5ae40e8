"""What the client receives of the backend's answer, in raw bytes."""

from __future__ import annotations

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import Closed, Message, get
from tests.support.sidecar import ORIGIN, Running

PNG = b"Content-Type: image/png\r\n"
"""Nothing looks for secrets in a picture: such an answer passes with the framing that it has."""


def told(front: Running, backend: Backend, reply: bytes, raw: bytes = get(), *, close: bool = False) -> Message:
    """Let the backend answer with these bytes and return what the client gets."""
    with front.connect() as client:
        client.send(raw)
        peer = backend.accept()
        peer.request()
        peer.send(reply)
        if close:
            peer.close()
        return client.response(raw.partition(b" ")[0].decode())


def test_status_fields_and_body_come_through(front: Running, backend: Backend):
    reply = told(front, backend, answer(b"\x00\xfftext", "X-A: 1", "x-a: 2", 'ETag: "q"', status="203 Odd Reason"))
    assert reply.status == 203
    assert reply.all(b"x-a") == [b"1", b"2"]
    assert reply.get(b"etag") == b'"q"'
    assert reply.body == b"\x00\xfftext"


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        pytest.param(["Keep-Alive: timeout=5"], b"keep-alive", id="keep-alive"),
        pytest.param(["Proxy-Authenticate: Basic"], b"proxy-authenticate", id="proxy-authenticate"),
        pytest.param(["Upgrade: h2c"], b"upgrade", id="upgrade"),
        pytest.param(["Connection: X-Inner", "X-Inner: 10.0.0.1"], b"x-inner", id="named-by-connection"),
        pytest.param(["Server: Werkzeug/3.0 Python/3.11"], b"server", id="server"),
        pytest.param(["X-Powered-By: Express"], b"x-powered-by", id="powered-by"),
        pytest.param(["X-AspNet-Version: 4.0"], b"x-aspnet-version", id="aspnet"),
        pytest.param(['Alt-Svc: h2=":3001"'], b"alt-svc", id="another-way-in"),
        pytest.param(['NEL: {"report_to": "x", "max_age": 1}'], b"nel", id="network-errors"),
        pytest.param(["Access-Control-Allow-Origin: *"], b"access-control-allow-origin", id="cors"),
    ],
)
def test_what_is_not_for_clients_is_removed(front: Running, backend: Backend, lines: list[str], gone: bytes):
    reply = told(front, backend, answer(b"ok", *lines, "X-Kept: 1"))
    assert gone not in reply.names()
    assert reply.get(b"x-kept") == b"1"


def test_the_backends_own_cors_and_security_headers_are_replaced(front: Running, backend: Backend):
    lines = ["Access-Control-Allow-Origin: *", "X-Frame-Options: ALLOWALL", "X-XSS-Protection: 1"]
    reply = told(front, backend, answer(b"ok", *lines), get("/", f"Origin: {ORIGIN}"))
    assert reply.get(b"access-control-allow-origin") == ORIGIN.encode()
    assert reply.get(b"x-frame-options") == b"SAMEORIGIN"
    assert reply.get(b"x-xss-protection") == b"0"


def test_head_is_answered_without_a_body_and_with_its_length(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/", method="HEAD"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + PNG + b"Content-Length: 5000\r\n\r\n")
        assert client.response("HEAD").get(b"content-length") == b"5000"
        client.send(get("/next"))  # both connections go on
        assert peer.request().target == b"/next"
        peer.send(answer(b"second"))
        assert client.response().body == b"second"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body_keep_the_connections(front: Running, backend: Backend, status: str):
    with front.connect() as client:
        for _ in range(2):
            client.send(get("/"))
            peer = backend.accept() if not backend._taken else backend._taken[-1]
            peer.request()
            peer.send(f'HTTP/1.1 {status}\r\nETag: "e"\r\n\r\n'.encode())
            reply = client.response()
            assert reply.status == int(status[:3])
            assert reply.get(b"transfer-encoding") is None
            assert client.silent()


def test_a_204_that_announces_a_length_does_not_announce_it(front: Running, backend: Backend):
    reply = told(front, backend, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert reply.get(b"content-length") is None  # RFC 9110 §8.6


def test_early_hints_come_through_and_100_does_not(front: Running, backend: Backend):
    link = b"Link: </a.css>; rel=preload"
    first = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n" + link + b"\r\nServer: x\r\n\r\n"
    with front.connect() as client:
        client.send(get("/"))
        peer = backend.accept()
        peer.request()
        peer.send(first)
        hints = client.head()
        assert hints.status == 103
        assert hints.get(b"link") == b"</a.css>; rel=preload"
        assert b"server" not in hints.names()
        peer.send(answer(b"then"))
        assert client.response().body == b"then"


def test_early_hints_are_kept_from_http_1_0(front: Running, backend: Backend):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    reply = told(front, backend, hints + answer(b"x"), b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n")
    assert reply.interim == []
    assert reply.body == b"x"


def test_a_chunked_answer_loses_extensions_and_trailers(front: Running, backend: Backend):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    with front.connect() as client:
        client.send(get("/"))
        peer = backend.accept()
        peer.request()
        peer.send(chunked + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n")
        head = client.head()
        assert b"trailer" not in head.names()
        wire = client.until(b"0\r\n\r\n")
    assert b"X-Sum" not in wire
    assert b"Set-Cookie" not in wire
    assert b";" not in wire


def test_an_answer_until_close_becomes_chunked(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall ")
        peer.send(b"of it")
        peer.close()
        reply = client.response()
        assert reply.get(b"transfer-encoding") == b"chunked"
        assert reply.body == b"all of it"
        client.send(get("/again"))  # the client's connection goes on
        assert backend.accept().request().target == b"/again"


def test_an_http_1_0_answer_with_a_length_is_complete(front: Running, backend: Backend):
    assert told(front, backend, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", close=True).body == b"ok"


def test_several_equal_lengths_are_one(front: Running, backend: Backend):
    reply = told(front, backend, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")
    assert reply.get(b"content-length") == b"2"
    assert reply.body == b"ok"


def test_cookies_are_hardened(front: Running, backend: Backend):
    reply = told(front, backend, answer(b"ok", "Set-Cookie: sid=1; Path=/", "Set-Cookie: theme=x; SameSite=Strict"))
    assert reply.all(b"set-cookie") == [
        b"sid=1; Path=/; HttpOnly; SameSite=Lax",
        b"theme=x; SameSite=Strict; HttpOnly",
    ]


def test_an_early_answer_to_an_upload_reaches_the_client(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/upload", "Content-Length: 1000000", method="POST"), b"begun")
        peer = backend.accept()
        peer.head()
        peer.send(answer(b"too much", "Connection: close", status="413 Content Too Large"))
        reply = client.response()
        assert reply.status == 413
        assert reply.body == b"too much"
        assert client.ended()  # the rest of the body can never be told from a next request


def test_an_early_answer_of_a_backend_that_hangs_up_reaches_a_client_that_still_sends(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/upload", "Transfer-Encoding: chunked", method="POST"), b"5\r\nbegun\r\n")
        peer = backend.accept()
        peer.head()
        peer.until(b"begun\r\n")
        peer.send(answer(b"no more", "Connection: close", status="403 Forbidden"))
        peer.close()
        for _ in range(20):
            client.send(b"4\r\nmore\r\n")
        reply = client.response()
        assert (reply.status, reply.body) == (403, b"no more")
        assert client.ended()


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 1_000_000])
def test_a_slow_reader_gets_it_all(front: Running, backend: Backend, size: int):
    body = bytes(range(256)) * (size // 256 + 1)
    with front.connect() as client:
        client.send(get("/"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + PNG + b"Content-Length: %d\r\n\r\n" % len(body), body[: len(body) // 2])
        head = client.head()
        got = b""
        while len(got) < 1000 and len(got) < len(body) // 2:
            got += client.exactly(1)
        peer.send(body[len(body) // 2 :])
        got += client.exactly(int(head.get(b"content-length") or 0) - len(got))
    assert got == body


def test_bytes_after_an_answer_are_dropped(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/one"))
        peer = backend.accept()
        peer.request()
        peer.send(answer(b"first") + answer(b"smuggled"))
        assert client.response().body == b"first"
        client.send(get("/two"))
        fresh = backend.accept()  # the old connection is thrown away
        fresh.request()
        fresh.send(answer(b"second"))
        assert client.response().body == b"second"
        assert peer.ended()


def test_a_length_that_the_body_does_not_reach_is_a_broken_answer(front: Running, backend: Backend):
    with pytest.raises(Closed) as cut:
        told(front, backend, b"HTTP/1.1 200 OK\r\n" + PNG + b"Content-Length: 10\r\n\r\nhalf", close=True)
    assert cut.value.got == b"half"
