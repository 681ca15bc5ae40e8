"""A backend that fails: the client gets the contract's refusal, and no other request is affected."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from tests.support.backends import Backend, answer
from tests.support.processes import free_port
from tests.support.raw import get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running, threaded

PAGE = f"Origin: {ORIGIN}"
MESSAGE = post("/api/chat", b'{"message": "hi"}', PAGE)
STACK = (
    b'Traceback (most recent call last):\n  File "/app/server.py", line 1, in <module>\n'
    b"RuntimeError: secret-of-the-backend\n"
)

BROKEN = {
    "closes-at-once": b"",
    "garbage": b"\x00\x01garbage\r\n\r\n",
    "http-0.9": b"<html>hello</html>\r\n\r\n",
    "another-protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "wrong-version": b"HTTP/2.0 200 OK\r\n\r\n",
    "no-status": b"HTTP/1.1 OK\r\n\r\n",
    "bad-field": b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
    "nul-in-field": b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
    "folded-field": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\nX: a\n\n",
    "two-framings": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    "differing-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "odd-coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "chunked-in-http-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "endless-head": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 100_000,
    "head-of-70000-bytes": b"HTTP/1.1 200 OK\r\n"
    + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 990) for n in range(70))
    + b"Content-Length: 0\r\n\r\n",
    "endless-interims": b"HTTP/1.1 102 Processing\r\n\r\n" * 40,
    "half-a-head": b"HTTP/1.1 200 OK\r\nContent-Le",
}


def fail(front: Running, backend: Backend, reply: bytes) -> tuple[int, str]:
    """Let the backend fail a message; return (status, request id)."""
    with front.connect() as client:
        client.send(MESSAGE)
        peer = backend.accept()
        peer.request()
        peer.send(reply)
        peer.close()
        message = client.response()
        return message.status, (message.get(b"x-request-id") or b"").decode()


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_what_is_no_answer_is_a_502(front: Running, backend: Backend, reply: bytes):
    with front.connect() as client:
        client.send(MESSAGE)
        peer = backend.accept()
        told = (peer.request().get(b"x-request-id") or b"").decode()
        peer.send(reply)
        peer.close()
        check_refusal(client.response(), 502, "BACKEND_BROKEN")
    line = front.logged(request_id=told, event="CHAT_ERROR")
    assert (line["category"], line["outcome"], line["detail"]["code"]) == ("SECURITY", "failed", "BACKEND_BROKEN")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        pytest.param("500 Internal Server Error", "BACKEND_BROKEN", id="500"),
        pytest.param("501 Not Implemented", "BACKEND_BROKEN", id="501"),
        pytest.param("502 Bad Gateway", "BACKEND_BROKEN", id="502"),
        pytest.param("503 Service Unavailable", "OVERLOADED", id="503"),
        pytest.param("504 Gateway Timeout", "BACKEND_TIMEOUT", id="504"),
        pytest.param("599 secret-of-the-backend", "BACKEND_BROKEN", id="599"),
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked", "until-close"])
def test_a_5xx_keeps_its_status_and_loses_its_text(
    front: Running, backend: Backend, status: str, code: str, framing: str
):
    lines = ["X-Debug: secret-of-the-backend", "Retry-After: 7"]
    reply = {
        "length": answer(STACK, *lines, status=status),
        "chunked": answer(b"%x\r\n%b\r\n0\r\n\r\n" % (len(STACK), STACK), *lines, "Transfer-Encoding: chunked", status=status, length=False),
        "until-close": answer(STACK, *lines, status=status, length=False),
    }[framing]  # fmt: skip
    with front.connect() as client:
        client.send(MESSAGE)
        peer = backend.accept()
        told = (peer.request().get(b"x-request-id") or b"").decode()
        peer.send(reply)
        peer.close()
        refused = client.response()
        check_refusal(refused, int(status[:3]), code)
        assert refused.get(b"retry-after") == b"7"
    assert front.logged(request_id=told, event="CHAT_ERROR")["detail"]["code"] == code


def test_a_4xx_passes_with_its_body(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(MESSAGE)
        peer = backend.accept()
        peer.request()
        peer.send(answer(b'{"detail": "no such model"}', status="422 Unprocessable Content"))
        reply = client.response()
        assert reply.status == 422
        assert reply.body == b'{"detail": "no such model"}'


def test_failures_leave_other_routes_and_readiness_alone(front: Running, backend: Backend):
    with front.connect() as other:
        other.send(get("/fine", PAGE))
        peer = backend.accept()
        peer.request()
        for reply in (b"", b"garbage\r\n\r\n", answer(STACK, status="500 Oh")):
            assert fail(front, backend, reply)[0] in (500, 502)
        assert front.fetch("/readyz")[0] == 200
        peer.send(answer(b"untouched"))
        assert other.response().body == b"untouched"


def test_the_next_request_after_a_failure_gets_a_fresh_connection(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(MESSAGE)
        first = backend.accept()
        first.request()
        first.send(answer(STACK, status="500 Oh", length=False), b"more")
        assert client.response().status == 500
        client.send(MESSAGE)
        second = backend.accept()
        second.request()
        second.send(answer(b"well again"))
        assert client.response().body == b"well again"
        assert first.ended()


def test_failures_are_counted(front: Running, backend: Backend):
    before = front.metric("sidecar_security_events_total", event="CHAT_ERROR", route="chat")
    fail(front, backend, b"")
    assert front.metric("sidecar_security_events_total", event="CHAT_ERROR", route="chat") == before + 1
    assert front.metric("sidecar_requests_total", route="chat", status="502") >= 1


PACKED = gzip.compress(b'{"answer": "forty-two"}')


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"this is no gzip", id="no-gzip"),
        pytest.param(PACKED[:-9], id="cut-short"),
        pytest.param(PACKED + b"more", id="with-more-behind-it"),
        pytest.param(PACKED[:-6] + b"abcdef", id="wrong-checksum"),
    ],
)
def test_a_compressed_answer_that_is_broken(front: Running, backend: Backend, body: bytes):
    with front.connect() as client:
        client.send(MESSAGE)
        peer = backend.accept()
        peer.request()
        peer.send(answer(body, "Content-Encoding: gzip", content_type="application/json"))
        check_refusal(client.response(), 502, "BACKEND_BROKEN")


def test_an_answer_that_is_compressed_all_the_same_is_unpacked(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(MESSAGE)
        peer = backend.accept()
        peer.request()
        peer.send(answer(PACKED, "Content-Encoding: gzip", content_type="application/json"))
        reply = client.response()
        assert reply.body == b'{"answer": "forty-two"}'
        assert reply.get(b"content-encoding") is None


def test_an_answer_in_a_coding_that_cannot_be_looked_at_is_not_passed(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(MESSAGE)
        peer = backend.accept()
        peer.request()
        peer.send(answer(PACKED, "Content-Encoding: br", content_type="application/json"))
        check_refusal(client.response(), 502, "BACKEND_BROKEN")


# --- a backend that is not there --------------------------------------------------------------------


@pytest.fixture(scope="module")
def orphan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    routes = [{"name": "chat", "match": {"path": "/api/chat"}, "message": {"fields": ["$.message"]}}]
    with threaded(tmp_path_factory.mktemp("orphan"), f"http://127.0.0.1:{free_port()}", routes=routes) as running:
        yield running


@pytest.mark.parametrize("raw", [MESSAGE, get("/", PAGE), get("/x", PAGE, "Content-Length: 9000", method="PUT")])
def test_a_backend_that_refuses_is_a_502(orphan: Running, raw: bytes):
    with orphan.connect() as client:
        client.send(raw)
        check_refusal(client.response(), 502, "BACKEND_UNREACHABLE")


def test_a_sidecar_without_its_backend_is_ready_and_says_so(orphan: Running):
    with orphan.connect() as client:
        client.send(MESSAGE)
        told = (client.response().get(b"x-request-id") or b"").decode()
    assert orphan.logged(request_id=told, event="CHAT_ERROR")["detail"]["code"] == "BACKEND_UNREACHABLE"
    assert orphan.fetch("/readyz")[0] == 200
