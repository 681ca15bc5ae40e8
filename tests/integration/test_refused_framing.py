"""What could be read in two ways is refused, closes its connection, and reaches no backend."""

from __future__ import annotations

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import get
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running

HEAD = b"POST /upload HTTP/1.1\r\nHost: chat.example\r\nOrigin: " + ORIGIN.encode() + b"\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: chat.example\r\n\r\n"

AMBIGUOUS = {
    "length-and-chunked": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "chunked-and-length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + NEXT,
    "differing-lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + NEXT,
    "equal-lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + NEXT,
    "listed-lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello" + NEXT,
    "signed-length": HEAD + b"Content-Length: +5\r\n\r\nhello" + NEXT,
    "hex-length": HEAD + b"Content-Length: 0x5\r\n\r\nhello" + NEXT,
    "length-with-underscores": HEAD + b"Content-Length: 1_0\r\n\r\n" + b"0123456789" + NEXT,
    "gzip-coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "identity-coding": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + NEXT,
    "chunked-twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "coding-in-two-lines": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + NEXT,
    "quoted-coding": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + NEXT,
    "vertical-tab-in-coding": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "coding-in-http-1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "space-before-colon": HEAD + b"Content-Length : 5\r\n\r\nhello" + NEXT,
    "tab-before-colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "folded-line": HEAD + b"X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "folded-first-line": b"GET / HTTP/1.1\r\n Host: chat.example\r\n\r\n",
    "bare-lf-in-head": HEAD + b"X-A: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "bare-lf-everywhere": HEAD.replace(b"\r\n", b"\n") + b"\n",
    "bare-cr-in-value": HEAD + b"X-A: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "nul-in-value": HEAD + b"X-A: 1\x00\r\n\r\n",
    "nul-in-name": HEAD + b"X\x00A: 1\r\n\r\n",
    "nul-in-target": b"GET /\x00 HTTP/1.1\r\nHost: chat.example\r\n\r\n",
    "no-colon": HEAD + b"Transfer-Encoding\r\n\r\n",
    "empty-name": HEAD + b": chunked\r\n\r\n",
    "blank-line-first-with-space": b" \r\nGET / HTTP/1.1\r\nHost: chat.example\r\n\r\n",
    "no-host": b"GET / HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET / HTTP/1.1\r\nHost: chat.example\r\nHost: b.example\r\n\r\n",
    "host-with-user": b"GET / HTTP/1.1\r\nHost: a@chat.example\r\n\r\n",
    "host-with-path": b"GET / HTTP/1.1\r\nHost: chat.example/x\r\n\r\n",
    "empty-host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "absolute-with-another-host": b"GET http://b.example/ HTTP/1.1\r\nHost: chat.example\r\n\r\n",
    "fragment": get("/a#b"),
    "space-in-target": get("/a b"),
    "http-0.9": b"GET /\r\n\r\n",
    "http-2": get().replace(b"1.1", b"2.0"),
    "http-1.10": get().replace(b"HTTP/1.1", b"HTTP/1.10"),
    "lower-case-http": get().replace(b"HTTP", b"http"),
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
CHUNKS = {
    "no-size": b"\r\n\r\n",
    "letters": b"xyz\r\n",
    "negative": b"-1\r\n",
    "prefixed": b"0x3\r\nabc\r\n0\r\n\r\n",
    "space-after-size": b"3 \r\nabc\r\n0\r\n\r\n",
    "too-long-size": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare-lf-after-size": b"3\nabc\r\n0\r\n\r\n",
    "bare-lf-after-data": b"3\r\nabc\n0\r\n\r\n",
    "data-longer-than-size": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare-cr-in-extension": b"3;a=\rb\r\nabc\r\n0\r\n\r\n",
    "endless-extension": b"3;" + b"a" * 5000,
    "folded-trailer": b"0\r\nX-A: 1\r\n b\r\n\r\n",
    "bare-lf-in-trailers": b"0\r\nX-A: 1\n\r\n\r\n",
    "endless-trailers": b"0\r\n" + b"X-A: 1\r\n" * 2000,
}


@pytest.mark.parametrize("raw", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous_heads(front: Running, backend: Backend, raw: bytes):
    with front.connect() as client:
        client.send(raw)
        check_refusal(client.response(), 400, "REQUEST_MALFORMED", origin=ORIGIN.encode() in raw)
        assert client.ended()
        assert client.buffer == b""
    assert backend.untouched(0.02)


@pytest.mark.parametrize("path", ["/upload", "/api/chat"])
@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
def test_odd_chunks(front: Running, backend: Backend, body: bytes, path: str):
    """On a route that streams the backend sees the head, and a body that never ends; else it sees nothing."""
    head = (
        HEAD.replace(b"/upload", path.encode())
        + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with front.connect() as client:
        client.send(head, body)
        check_refusal(client.response(), 400, "REQUEST_MALFORMED")
        assert client.ended()
    if path == "/upload":
        peer = backend.accept()
        assert not peer.rest().endswith(b"0\r\n\r\n")
    else:
        assert backend.untouched(0.02)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PRI", "BREW", "get"])
def test_methods_that_are_refused(front: Running, backend: Backend, method: str):
    with front.connect() as client:
        client.send(get("/", f"Origin: {ORIGIN}", method=method))
        check_refusal(client.response(), 405, "METHOD_NOT_ALLOWED")
        assert client.ended()
    assert backend.untouched(0.02)


@pytest.mark.parametrize(
    "path", ["/api%2fchat/../x", "/%2e%2e/admin", "/a/..;/b", "/api/%63hat%00", "/\\..\\x", "/a/./b"]
)
def test_odd_paths_are_refused_or_passed_as_they_are(front: Running, backend: Backend, path: str):
    with front.connect() as client:
        client.send(get(path, f"Origin: {ORIGIN}"))
        if backend.untouched(0.2):
            check_refusal(client.response(), 400, "REQUEST_MALFORMED")
        else:
            peer = backend._taken[-1]
            assert peer.request().target == path.encode()
            peer.send(answer())
            assert client.response().status == 200


def test_an_empty_line_before_a_request_is_forgiven(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(b"\r\n" + get("/after"))
        assert backend.accept().request().target == b"/after"


def test_the_refusal_reaches_a_client_that_goes_on_sending(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"x" * 200_000)
        check_refusal(client.response(), 400, "REQUEST_MALFORMED")
