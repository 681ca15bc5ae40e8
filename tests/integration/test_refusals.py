"""Every refusal, whatever guard made it, is written in the same place."""

from __future__ import annotations

import json

import pytest

from tests.support.backends import Backend
from tests.support.raw import get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running

PAGE = f"Origin: {ORIGIN}"
JSON = "Content-Type: application/json"
HELLO = b'{"message": "hi"}'

REFUSED = {
    "malformed-head": (b"GET / HTTP/1.1\r\nX : 1\r\n" + PAGE.encode() + b"\r\n\r\n", 400, "REQUEST_MALFORMED"),
    "no-such-method": (get("/", PAGE, method="BREW"), 405, "METHOD_NOT_ALLOWED"),
    "no-json": (post("/api/chat", b"{", PAGE), 400, "MESSAGE_INVALID"),
    "duplicate-keys": (post("/api/chat", b'{"message": "a", "message": "b"}', PAGE), 400, "MESSAGE_INVALID"),
    "not-a-string": (post("/api/chat", b'{"message": 1}', PAGE), 400, "MESSAGE_INVALID"),
    "too-long": (post("/api/chat", json.dumps({"message": "x" * 1001}).encode(), PAGE), 400, "MESSAGE_TOO_LONG"),
    "wrong-type": (get("/api/chat", PAGE, "Content-Type: image/png", "Content-Length: 1", method="POST") + b"x", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "encoded": (post("/api/chat", HELLO, PAGE, "Content-Encoding: br"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "too-large": (post("/small", b"x" * 1025, PAGE), 413, "BODY_TOO_LARGE"),
    "head-too-large": (get("/", PAGE, "X-A: " + "a" * 40_000), 431, "HEADERS_TOO_LARGE"),
    "no-websocket": (get("/", PAGE, "Upgrade: websocket", "Connection: upgrade"), 400, "REQUEST_MALFORMED"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_a_page_can_read_why_it_is_refused(front: Running, backend: Backend, raw: bytes, status: int, code: str):
    with front.connect() as client:
        client.send(raw)
        check_refusal(client.response(), status, code)
    assert backend.untouched(0.02)


@pytest.mark.parametrize(("raw", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_a_foreign_page_is_told_nothing(front: Running, backend: Backend, raw: bytes, status: int, code: str):
    """Without CORS headers its script cannot read the answer; most are not even asked further than their origin."""
    with front.connect() as client:
        client.send(raw.replace(ORIGIN.encode(), b"https://evil.example"))
        reply = client.response()
        assert reply.status in (status, 403)
        assert b"access-control-allow-origin" not in reply.names()
        assert b"access-control-allow-credentials" not in reply.names()
    assert backend.untouched(0.02)


@pytest.mark.parametrize(("raw", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_each_refusal_is_logged_with_its_request_id(front: Running, raw: bytes, status: int, code: str):
    with front.connect() as client:
        client.send(raw)
        told = (client.response().get(b"x-request-id") or b"").decode()
    line = front.logged(request_id=told, category="ACCESS")
    assert (line["status"], line["outcome"]) == (status, "refused")


def test_problem_json_for_who_asks_for_it(front: Running):
    with front.connect() as client:
        client.send(post("/api/chat", b"{", PAGE, "Accept: application/problem+json"))
        reply = client.response()
        assert reply.get(b"content-type") == b"application/problem+json"
        problem = json.loads(reply.body)
        assert problem["status"] == 400
        assert problem["code"] == "MESSAGE_INVALID"
        assert problem["request_id"].encode() == reply.get(b"x-request-id")


def test_a_refusal_of_head_has_no_body(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/", "Origin: https://evil.example", method="HEAD"))
        reply = client.response("HEAD")
        assert reply.status == 403
        assert int(reply.get(b"content-length") or 0) > 0
        assert client.silent()


def test_a_preflight_is_answered_here(front: Running, backend: Backend):
    lines = [PAGE, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"]
    with front.connect() as client:
        client.send(get("/api/chat", *lines, method="OPTIONS"))
        reply = client.response()
        assert reply.status == 204
        assert reply.get(b"access-control-allow-origin") == ORIGIN.encode()
        assert b"POST" in (reply.get(b"access-control-allow-methods") or b"")
        assert reply.get(b"content-length") is None
    assert backend.untouched(0.02)


def test_a_cross_site_change_without_an_origin_is_refused(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(post("/upload", b"x", "Sec-Fetch-Site: cross-site"))
        check_refusal(client.response(), 403, "CSRF_BLOCKED", origin=False)
    assert backend.untouched(0.02)


def test_nothing_of_what_was_sent_stands_in_the_log(front: Running, backend: Backend):
    words = ("hunter2-query", "hunter2-cookie", "hunter2-token", "hunter2-message")
    raw = post(
        "/api/chat?k=hunter2-query", b'{"message": 7, "x": "hunter2-message"}', PAGE, "Cookie: s=hunter2-cookie",
        "Authorization: Bearer hunter2-token",
    )  # fmt: skip
    with front.connect() as client:
        client.send(raw)
        told = (client.response().get(b"x-request-id") or b"").decode()
    front.logged(request_id=told, category="ACCESS")
    text = json.dumps(front.lines())
    assert not [word for word in words if word in text]
