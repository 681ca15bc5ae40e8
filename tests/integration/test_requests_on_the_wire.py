"""What the backend receives of a request, in raw bytes."""

from __future__ import annotations

import re

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import Message, get, post
from tests.support.sidecar import ORIGIN, TRUSTED, Running


def heard(front: Running, backend: Backend, raw: bytes, source: str = "127.0.0.1") -> Message:
    """Send a request through and return what the backend got; the answer must come back."""
    with front.connect(source) as client:
        client.send(raw)
        peer = backend.accept()
        request = peer.request()
        peer.send(answer(b"fine"))
        method = raw.partition(b" ")[0].decode()
        assert client.response(method).body == (b"" if method == "HEAD" else b"fine")
        return request


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/a%41%7e//b/../c?q=%7E+%20", id="escapes-dots-and-slashes"),
        pytest.param("/%2e%2e;x=1/@:!$&'()*+,=", id="sub-delimiters"),
        pytest.param("/?a=1&a=2&&=&?/", id="query"),
        pytest.param("/gradio_api/file=/tmp/a%20b.png", id="equals-in-path"),
        pytest.param('/a|b^c`{d}"<e>\\', id="what-urls-should-not-hold"),
        pytest.param("/" + "a" * 4000, id="long"),
    ],
)
def test_the_target_arrives_byte_for_byte(front: Running, backend: Backend, target: str):
    assert heard(front, backend, get(target)).start == f"GET {target} HTTP/1.1".encode()


def test_an_absolute_target_is_mapped_to_its_path(front: Running, backend: Backend):
    request = heard(front, backend, get("http://chat.example/a%41?b", host="chat.example"))
    assert request.target == b"/a%41?b"
    assert request.get(b"host") == b"chat.example"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "QUERY"])
def test_methods_pass(front: Running, backend: Backend, method: str):
    assert heard(front, backend, get("/m", method=method)).start == f"{method} /m HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        pytest.param(["Connection: keep-alive"], b"connection", id="connection"),
        pytest.param(["Keep-Alive: timeout=5"], b"keep-alive", id="keep-alive"),
        pytest.param(["Proxy-Connection: keep-alive"], b"proxy-connection", id="proxy-connection"),
        pytest.param(["Proxy-Authorization: Basic eA=="], b"proxy-authorization", id="proxy-authorization"),
        pytest.param(["TE: trailers"], b"te", id="te"),
        pytest.param(["Trailer: X-Sum"], b"trailer", id="trailer"),
        pytest.param(["Upgrade: h2c", "Connection: Upgrade"], b"upgrade", id="upgrade"),
        pytest.param(["HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: HTTP2-Settings"], b"http2-settings", id="http2"),
        pytest.param(["Connection: close, X-Mine", "X-Mine: 1"], b"x-mine", id="named-by-connection"),
        pytest.param(
            ["Connection: x-a", "Connection: X-MINE", "X-Mine: 1"], b"x-mine", id="named-by-a-second-connection"
        ),
    ],
)
def test_what_belongs_to_one_connection_stays_there(front: Running, backend: Backend, lines: list[str], gone: bytes):
    request = heard(front, backend, get("/", *lines, "X-Kept: 1"))
    assert gone not in request.names()
    assert request.get(b"x-kept") == b"1"


def test_connection_cannot_name_away_what_we_say(front: Running, backend: Backend):
    request = heard(front, backend, get("/", "Connection: host, x-forwarded-for, x-request-id, content-length"))
    assert {b"host", b"x-forwarded-for", b"x-request-id"} <= request.names()


@pytest.mark.parametrize(
    "line",
    [
        "X_Forwarded_For: 6.6.6.6", "X-Forwarded_Proto: https", "User_Agent: x", "True-Client-IP: 6.6.6.6",
        "X-Client-IP: 6.6.6.6", "CF-Connecting-IP: 6.6.6.6", "X-Original-URL: /admin", "X-Rewrite-URL: /admin",
        "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "X-Forwarded-Prefix: /x",
        "X-Forwarded-User: root", "X-Auth-Request-Email: root@example.com", "X-Accel-Redirect: /etc/passwd",
        "Forwarded: for=6.6.6.6", "Proxy: http://6.6.6.6/", "Client-IP: 6.6.6.6", "Forwarded-For: 6.6.6.6",
        "Remote-User: root", "X-SSL-Client-Verify: SUCCESS", "X-Forwarded-Uri: /admin", "X-Amzn-Oidc-Identity: root",
        "X-Middleware-Subrequest: middleware:middleware",
    ],
)  # fmt: skip
def test_claims_of_untrusted_peers_are_dropped(front: Running, backend: Backend, line: str):
    request = heard(front, backend, get("/", line))
    assert line.partition(":")[0].lower().encode() not in request.names()
    assert not any(b"6.6.6.6" in value for _, value in request.fields)


@pytest.mark.parametrize("line", ["X-Auth-Token: 1", "X-Goog-Api-Key: 1", "X-User-Agent: 1", "X-Client-Data: 1"])
def test_names_that_only_look_like_claims_pass(front: Running, backend: Backend, line: str):
    assert heard(front, backend, get("/", line)).get(line.partition(":")[0].lower().encode()) == b"1"


def test_forwarding_headers_of_an_untrusted_peer_are_rewritten(front: Running, backend: Backend):
    forged = ["X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "X-Forwarded-Proto: https", "X-Org-ID: victim"]
    request = heard(
        front, backend, get("/", *forged, "X-Forwarded-Host: evil.example", "X-Request-ID: chosen-by-client")
    )
    assert request.get(b"x-forwarded-for") == b"127.0.0.1"
    assert request.get(b"x-real-ip") == b"127.0.0.1"
    assert request.get(b"x-forwarded-proto") == b"http"
    assert request.get(b"x-forwarded-host") == b"chat.example"
    assert request.get(b"x-org-id") == b"default"
    assert request.get(b"x-request-id") != b"chosen-by-client"
    assert request.get(b"via") == b"1.1 sidecar"


def test_a_trusted_proxy_is_believed(front: Running, backend: Backend):
    words = ["X-Forwarded-For: 6.6.6.6, 203.0.113.7", "X-Forwarded-Proto: https", "X-Request-ID: given-0123456789"]
    request = heard(front, backend, get("/", *words, "X-Org-ID: acme", "X-Forwarded-Prefix: /chat"), TRUSTED)
    assert request.get(b"x-forwarded-for") == b"203.0.113.7"  # the first one from the right that is no proxy of ours
    assert request.get(b"x-real-ip") == b"203.0.113.7"
    assert request.get(b"x-forwarded-proto") == b"https"
    assert request.get(b"x-org-id") == b"acme"
    assert request.get(b"x-request-id") == b"given-0123456789"
    assert request.get(b"x-forwarded-prefix") == b"/chat"


def test_the_request_id_is_one_for_client_backend_and_log(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/id"))
        peer = backend.accept()
        told = peer.request().get(b"x-request-id")
        peer.send(answer(b"", "X-Request-ID: of-the-backend"))
        assert client.response().get(b"x-request-id") == told
    assert told is not None
    assert re.fullmatch(rb"[0-9a-f]{20,}", told)
    assert front.logged(request_id=told.decode())["path"] == "/id"


def test_other_fields_keep_their_order_spelling_and_repetition(front: Running, backend: Backend):
    lines = [
        "X-B: 1",
        "x-a: 2",
        "X-b:3",
        "Cookie: a=1",
        "cookie: b=2",
        "X-Empty:",
        'X-Odd: \t "q",; é \t',
        f"Origin: {ORIGIN}",
    ]
    request = heard(front, backend, get("/", *lines))
    kept = [f for f in request.fields if f[0].lower() in {b"x-b", b"x-a", b"cookie", b"x-empty", b"x-odd"}]
    assert kept == [
        (b"X-B", b"1"), (b"x-a", b"2"), (b"X-b", b"3"), (b"Cookie", b"a=1; b=2"),
        (b"X-Empty", b""), (b"X-Odd", '"q",; é'.encode("latin-1")),
    ]  # fmt: skip


# --- bodies -----------------------------------------------------------------------------------------


def test_a_body_of_known_length_arrives_so(front: Running, backend: Backend):
    request = heard(front, backend, post("/upload", b"\x00\xff" * 5000))
    assert request.body == b"\x00\xff" * 5000
    assert request.get(b"transfer-encoding") is None


def test_an_empty_post_says_so(front: Running, backend: Backend):
    assert heard(front, backend, post("/upload", b"")).get(b"content-length") == b"0"


def test_a_chunked_body_arrives_chunked_without_extensions_and_trailers(front: Running, backend: Backend):
    raw = get("/upload", "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST")
    raw += b"3;ext=1\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    with front.connect() as client:
        client.send(raw)
        peer = backend.accept()
        head = peer.head()
        assert head.get(b"transfer-encoding") == b"chunked"
        assert b"trailer" not in head.names()
        wire = peer.until(b"0\r\n\r\n")
        peer.send(answer(b"fine"))
        assert client.response().body == b"fine"
    assert b";" not in wire
    assert b"X-Sum" not in wire
    assert b"6.6.6.6" not in wire


def test_chunks_are_sent_on_before_the_next_one_is_there(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/upload", "Transfer-Encoding: chunked", method="POST"))
        peer = backend.accept()
        peer.head()
        for number in range(5):
            piece = b"piece %d" % number
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert peer.chunk() == piece
        client.send(b"0\r\n\r\n")
        assert peer.chunk() == b""


def test_a_chunk_that_comes_byte_by_byte(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/upload", "Transfer-Encoding: chunked", method="POST"))
        peer = backend.accept()
        peer.head()
        for byte in b"5\r\nhello\r\n0\r\nA: b\r\n\r\n":
            client.send(bytes([byte]))
        assert b"".join(iter(peer.chunk, b"")) == b"hello"


def test_expect_is_answered_here_once_the_request_is_admitted(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/upload", "Expect: 100-continue", "Content-Length: 5", method="POST"))
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        peer = backend.accept()
        request = peer.request()
        assert request.body == b"hello"
        assert request.get(b"expect") is None
        peer.send(answer(b"fine"))
        assert client.response().body == b"fine"


def test_expect_on_an_inspected_route(front: Running, backend: Backend):
    body = b'{"message": "hi"}'
    lines = ["Expect: 100-continue", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    with front.connect() as client:
        client.send(get("/api/chat", *lines, method="POST"))
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert backend.accept().request().body == body


def test_expect_of_a_refused_request_asks_for_no_body(front: Running, backend: Backend):
    lines = ["Expect: 100-continue", "Content-Length: 5", "Origin: https://evil.example"]
    with front.connect() as client:
        client.send(get("/upload", *lines, method="POST"))
        refused = client.response()
        assert refused.status == 403
        assert not refused.interim
        assert client.ended()
    assert backend.untouched()


def test_http_1_0_is_spoken_to_as_such(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(b"GET /old HTTP/1.0\r\nHost: chat.example\r\n\r\n")
        peer = backend.accept()
        request = peer.request()
        assert request.start == b"GET /old HTTP/1.1"
        assert request.get(b"via") == b"1.0 sidecar"
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        reply = client.response()
        assert b"transfer-encoding" not in reply.names()
        assert reply.body == b"abc"
        assert client.ended()


def test_an_inspected_body_is_spliced_and_measured_anew(front: Running, backend: Backend):
    body = b'{"n": 12345678901234567890123, "message": "<b>hi</b>", "u": "\\u003c"}'
    request = heard(front, backend, post("/api/chat", body))
    assert request.body == body.replace(b"<b>hi</b>", b"&lt;b>hi&lt;/b>")
    assert request.get(b"content-length") == b"%d" % len(request.body)
