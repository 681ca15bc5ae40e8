"""What one client may make the sidecar hold or wait for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import Closed, Raw, get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running, threaded

BOUNDS = {
    "max_header_bytes": "4KiB",
    "max_headers": 20,
    "max_target": "1KiB",
    "max_body": "64KiB",
    "header_timeout": "300ms",
    "body_timeout": "400ms",
    "min_body_rate": "1KiB",
    "idle_timeout": "1s",
    "max_connections": 30,
    "concurrent_per_client": 3,
}
ROUTES = [
    {"name": "big", "match": {"path": "/big"}, "max_body": "1GiB"},
    {"name": "chat", "match": {"path": "/api/chat"}, "message": {"fields": ["$.message"]}},
]
PAGE = f"Origin: {ORIGIN}"


@pytest.fixture(scope="module")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Backend]]:
    timeouts = {"connect": "300ms", "first_byte": "600ms", "idle": "1s"}
    sections = {"requests": BOUNDS, "routes": ROUTES, "backend": {"timeouts": timeouts, "max_connections": 2}}
    with Backend() as backend, threaded(tmp_path_factory.mktemp("bounds"), backend.url, **sections) as running:
        yield running, backend


# --- sizes ------------------------------------------------------------------------------------------


def test_a_head_just_within_the_bound(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/", "X-A: " + "a" * 4000))
        backend.accept().request()


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        pytest.param(get("/", PAGE, "X-A: " + "a" * 5000), 431, "HEADERS_TOO_LARGE", id="one-long-line"),
        pytest.param(get("/", PAGE, *[f"X-{n}: 1" for n in range(19)]), 431, "HEADERS_TOO_LARGE", id="many-lines"),
        pytest.param(get("/", PAGE)[:-2] + b"X-A: " + b"a" * 8000, 431, "HEADERS_TOO_LARGE", id="no-end-in-sight"),
        pytest.param(get("/" + "a" * 1100, PAGE), 414, "TARGET_TOO_LONG", id="long-target"),
        pytest.param(post("/upload", b"x" * 65_537, PAGE), 413, "BODY_TOO_LARGE", id="long-body"),
        pytest.param(get("/upload", PAGE, "Content-Length: 999999999999", method="POST"), 413, "BODY_TOO_LARGE", id="announced-body"),
        pytest.param(post("/api/chat", b"x" * 65_537, PAGE), 413, "BODY_TOO_LARGE", id="long-inspected-body"),
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused_before_the_backend(
    front: Running, backend: Backend, raw: bytes, status: int, code: str
):
    with front.connect() as client:
        client.send(raw)
        check_refusal(client.response(), status, code)
        assert client.ended()
    assert backend.untouched(0.02)


def chunked(path: str, size: int) -> bytes:
    head = get(path, PAGE, "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
    return head + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * (size // 4096)


def test_a_chunked_body_is_refused_where_it_passes_the_bound(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(chunked("/upload", 80 * 1024))
        check_refusal(client.response(), 413, "BODY_TOO_LARGE")
        assert client.ended()
    peer = backend.accept()
    assert not peer.rest().endswith(b"0\r\n\r\n")


def test_an_inspected_chunked_body_is_refused_before_the_backend(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(chunked("/api/chat", 80 * 1024))
        check_refusal(client.response(), 413, "BODY_TOO_LARGE")
    assert backend.untouched(0.02)


# --- times ------------------------------------------------------------------------------------------


def ends(client: Raw, within: float) -> float:
    began = time.monotonic()
    assert client.ended(within + 3)
    return time.monotonic() - began


def test_a_silent_connection_is_closed_without_a_word(front: Running):
    with front.connect() as client:
        assert 0.7 < ends(client, 1) < 3
        assert client.buffer == b""


def test_a_kept_connection_is_closed_when_idle(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/"))
        peer = backend.accept()
        peer.request()
        peer.send(answer())
        client.response()
        assert 0.7 < ends(client, 1) < 3
        assert client.buffer == b""


@pytest.mark.parametrize("drip", [False, True], ids=["stops", "drips"])
def test_a_head_that_does_not_end_is_refused(front: Running, backend: Backend, drip: bool):
    with front.connect() as client:
        client.send(get("/", PAGE)[:-2])
        began = time.monotonic()
        while drip and time.monotonic() - began < 0.25:
            client.send(b"X-A: 1\r\n")
            time.sleep(0.05)
        check_refusal(client.response(), 408, "REQUEST_TIMEOUT")
        assert 0.2 < time.monotonic() - began < 3
        assert client.ended()
    assert backend.untouched(0.02)


@pytest.mark.parametrize("path", ["/upload", "/api/chat"])
@pytest.mark.parametrize("framing", ["Content-Length: 60000", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_refused(front: Running, backend: Backend, path: str, framing: str):
    with front.connect() as client:
        client.send(get(path, PAGE, "Content-Type: application/json", framing, method="POST"), b"5\r\nhel")
        began = time.monotonic()
        check_refusal(client.response(), 408, "REQUEST_TIMEOUT")
        assert 0.2 < time.monotonic() - began < 3
        assert client.ended()
    if path == "/upload":
        assert backend.accept().ended()
    else:
        assert backend.untouched(0.02)


@pytest.mark.parametrize("path", ["/upload", "/api/chat"])
def test_a_body_that_drips_is_refused_although_each_piece_is_in_time(front: Running, backend: Backend, path: str):
    with front.connect() as client:
        client.send(get(path, PAGE, "Content-Type: application/json", "Content-Length: 60000", method="POST"))
        began = time.monotonic()
        client.sock.settimeout(0.05)
        while time.monotonic() - began < 10 and not client.buffer:
            client.send(b"x")
            try:
                client.more()
            except TimeoutError:
                continue
        client.sock.settimeout(10)
        check_refusal(client.response(), 408, "REQUEST_TIMEOUT")
        assert time.monotonic() - began < 5


def test_a_body_that_keeps_its_rate_may_take_its_time(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/upload", PAGE, "Content-Length: 12288", method="POST"))
        peer = backend.accept()
        peer.head()
        for _ in range(12):
            client.send(b"x" * 1024)
            time.sleep(0.07)  # twice as long as body_timeout in all, ten times as fast as asked for
        assert len(peer.exactly(12288)) == 12288
        peer.send(answer(b"took it"))
        assert client.response().body == b"took it"


# --- numbers ----------------------------------------------------------------------------------------


def test_one_client_may_not_have_many_requests_at_once(front: Running, backend: Backend):
    with contextlib.ExitStack() as crowd:
        busy = [crowd.enter_context(front.connect("127.0.0.5")).send(get("/slow", PAGE)) for _ in range(2)]
        peers = [backend.accept() for _ in busy]
        crowd.enter_context(front.connect("127.0.0.5")).send(get("/slow", PAGE))
        time.sleep(0.1)
        fourth = crowd.enter_context(front.connect("127.0.0.5")).send(get("/slow", PAGE))
        check_refusal(fourth.response(), 429, "RATE_LIMIT_EXCEEDED")
        for peer, client in zip(peers, busy, strict=True):
            peer.request()
            peer.send(answer())
            assert client.response().status == 200


def test_more_requests_than_backend_connections_wait_and_are_told_so(front: Running, backend: Backend):
    with contextlib.ExitStack() as crowd:
        for number in range(2):
            crowd.enter_context(front.connect(f"127.0.0.{20 + number}")).send(get("/slow", PAGE))
            backend.accept()
        third = crowd.enter_context(front.connect("127.0.0.30")).send(get("/slow", PAGE))
        check_refusal(third.response(), 503, "OVERLOADED")


def test_one_that_waits_gets_the_connection_that_becomes_free(front: Running, backend: Backend):
    first = [front.connect(f"127.0.0.{20 + n}").send(get("/slow", PAGE)) for n in range(2)]
    peers = [backend.accept() for _ in first]
    with front.connect("127.0.0.30") as third:
        third.send(get("/third", PAGE))
        time.sleep(0.05)
        peers[0].request()
        peers[0].send(answer())
        assert first[0].response().status == 200
        peer = backend.accept()
        assert peer.request().target == b"/third"
        peer.send(answer(b"at last"))
        assert third.response().body == b"at last"
    for client in first:
        client.close()


def test_in_a_full_house_who_asks_for_nothing_gives_way(front: Running, backend: Backend):
    crowd = [front.connect() for _ in range(30)]
    time.sleep(0.2)
    with front.connect() as late:
        late.send(get("/late"))
        assert backend.accept().request().target == b"/late"
        assert crowd[0].ended(2)
        assert crowd[1].silent()
    for client in crowd:
        client.close()
    time.sleep(0.2)


def test_at_max_connections_no_connection_is_served(front: Running, backend: Backend):
    asking = post("/api/chat", b"x" * 1000)[:-1]
    crowd = [front.connect(f"127.0.1.{number}").send(asking) for number in range(1, 31)]
    time.sleep(0.1)
    with front.connect() as late:
        assert late.ended(2)
        assert late.buffer == b""
    for client in crowd:
        client.close()
    time.sleep(0.2)
    with front.connect() as client:
        client.send(get("/again"))
        assert backend.accept().request().target == b"/again"


# --- the backend's times ----------------------------------------------------------------------------


def test_a_backend_that_does_not_answer_is_a_504(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/hang", PAGE))
        peer = backend.accept()
        peer.request()
        check_refusal(client.response(), 504, "BACKEND_TIMEOUT")
        assert peer.ended()


def test_a_backend_that_does_not_take_the_body_is_a_504(front: Running, backend: Backend):
    lines = [PAGE, f"Content-Length: {64 * 1024 * 1024}"]
    with front.connect() as client:
        client.send(get("/big", *lines, method="POST"))
        peer = backend.accept()
        peer.head()
        client.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            for _ in range(256):
                client.send(b"x" * 262_144)
        client.sock.settimeout(10)
        check_refusal(client.response(), 504, "BACKEND_TIMEOUT")


def test_the_backends_time_begins_when_the_body_is_sent(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/upload", PAGE, "Content-Length: 9000", method="POST"))
        peer = backend.accept()
        peer.head()
        for _ in range(9):
            client.send(b"x" * 1000)
            time.sleep(0.1)  # longer than the backend has for its first byte
        peer.exactly(9000)
        began = time.monotonic()
        check_refusal(client.response(), 504, "BACKEND_TIMEOUT")
        assert time.monotonic() - began > 0.3


def test_a_stream_that_falls_silent_is_cut(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/hang", PAGE))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.send(b"9\r\ndata: 1\n\n\r\n")
        client.head()
        client.chunk()
        with pytest.raises(Closed):
            client.chunk()
        assert peer.ended()
