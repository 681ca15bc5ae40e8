"""Clients that do not read, and answers and requests that try to mean something else behind us."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.proxy import websocket_relay
from sidecar.proxy.handler import Handler
from tests.integration.test_websockets import HANDSHAKE, PING, sent, switching
from tests.support.backends import Backend, answer
from tests.support.raw import Raw, get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, TRUSTED, Running, threaded, until


def deaf(front: Running) -> Raw:
    """Return a client whose socket takes next to nothing that it does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", front.public))
    return Raw(sock)


def test_who_asks_on_without_reading_is_not_read_any_more(front: Running):
    question = get("/", "Origin: https://evil.example", f"X-Pad: {'p' * 400}")
    before = front.metric("sidecar_security_events_total", event="CORS_BLOCKED")
    client = deaf(front)
    client.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        client.sock.sendall(question * 40_000)  # far more than what kernels keep on the way
    served = 0.0

    def settled() -> bool:
        nonlocal served
        last, served = served, front.metric("sidecar_security_events_total", event="CORS_BLOCKED") - before
        return served == last

    until(settled, "the sidecar to stop answering")
    assert 0 < served < 20_000
    client.break_off()


@pytest.mark.parametrize("status", [b"600", b"999"])
def test_a_status_that_there_is_not_is_a_502(front: Running, backend: Backend, status: bytes):
    with front.connect() as client:
        client.send(get("/", f"Origin: {ORIGIN}"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 " + status + b" Odd\r\nContent-Length: 0\r\n\r\n")
        check_refusal(client.response(), 502, "BACKEND_BROKEN")


@pytest.mark.parametrize(
    "line",
    ["X-Original-URL: /api/chat", "X-Rewrite-URL: /api/chat", "X-HTTP-Method-Override: POST", "X-Method-Override: POST"],
)  # fmt: skip
def test_no_peer_may_name_another_path_or_method(front: Running, backend: Backend, line: str):
    with front.connect(TRUSTED) as client:
        client.send(get("/", line))
        assert line.partition(":")[0].lower().encode() not in backend.accept().request().names()


def test_connection_cannot_name_away_what_guards_went_by(front: Running, backend: Backend):
    named = "Connection: content-type, authorization, cookie, x-session-id, x-mine"
    with front.connect() as client:
        client.send(post("/", b"{}", named, "Authorization: x", "Cookie: a=b", "X-Session-ID: s", "X-Mine: 1"))
        names = backend.accept().request().names()
        assert {b"content-type", b"authorization", b"cookie", b"x-session-id"} <= names
        assert b"x-mine" not in names


@pytest.mark.parametrize("path", ["/api/chat%0a", "/api/chat%00"])
def test_a_control_character_in_a_path_is_refused(front: Running, backend: Backend, path: str):
    with front.connect() as client:
        client.send(post(path, b'{"message": "<script>"}', f"Origin: {ORIGIN}"))
        check_refusal(client.response(), 400, "REQUEST_MALFORMED")
    assert backend.untouched(0.02)


def test_a_preflight_of_our_own_page_is_answered_here(front: Running, backend: Backend):
    with front.connect() as client:
        lines = ["Origin: http://chat.example", "Access-Control-Request-Method: GET"]
        client.send(get("/api/chat", *lines, method="OPTIONS"))
        assert client.response().status == 204
    assert backend.untouched(0.02)


def test_a_connection_whose_upload_breaks_as_the_answer_ends_is_not_used_again(front: Running, backend: Backend):
    head = get("/upload", "Transfer-Encoding: chunked", method="POST")
    with front.connect() as client:
        client.send(head + b"1\r\na\r\n")
        peer = backend.accept()
        peer.until(b"a\r\n")
        peer.send(answer())
        client.send(b"zz\r\n" + get("/smuggled"))
        client.rest()
        assert client.ended()
        time.sleep(0.05)
        assert b"smuggled" not in peer.rest()


@pytest.mark.parametrize(("lines", "banned"), [([], True), (["Sec-Fetch-Site: cross-site"], False)])
def test_pictures_on_a_foreign_page_lock_no_client_out(tmp_path: Path, lines: list[str], banned: bool):
    pictures = [get("/" + "a" * 9000, *lines), get("/%00", *lines)]
    ban = {"strikes": 3, "within": "1m", "for": "1m"}
    with Backend() as backend, threaded(tmp_path, backend.url, clients={"ban": ban}) as running:
        for picture in pictures * 3:
            with running.connect() as client:
                assert client.send(picture).response().status in (400, 403, 414)
        with running.connect() as client:
            client.send(get("/%00"))
            assert client.response().status == (403 if banned else 400)


class Turns:
    """How often something is done on a loop between two turns of everybody else."""

    def __init__(self) -> None:
        self.done = 0
        self.most = 0
        self.over = False

    def counted(self, work: Any) -> Any:
        def counting(*args: Any, **named: Any) -> Any:
            self.done += 1
            return work(*args, **named)

        return counting

    async def watch(self) -> None:
        while not self.over:
            before = self.done
            await asyncio.sleep(0)
            self.most = max(self.most, self.done - before)


def watched(running: Running, turns: Turns, client: Raw, flood: bytes, done: int) -> None:
    assert running.loop is not None
    watching = asyncio.run_coroutine_threadsafe(turns.watch(), running.loop)
    reader = threading.Thread(target=client.rest, daemon=True)
    reader.start()
    client.send(flood)
    until(lambda: turns.done >= done, "all to be served")
    turns.over = True
    watching.result(20)
    client.sock.shutdown(socket.SHUT_RDWR)
    reader.join(20)


def test_who_sends_many_requests_at_once_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    turns = Turns()
    monkeypatch.setattr(Handler, "begin", turns.counted(Handler.begin))
    with Backend() as backend, threaded(tmp_path, backend.url) as running, running.connect() as client:
        watched(running, turns, client, get("/", "Origin: https://evil.example") * 500, 500)
    assert turns.most <= 3


def test_who_sends_many_frames_at_once_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    turns = Turns()
    monkeypatch.setattr(websocket_relay, "encode", turns.counted(websocket_relay.encode))
    with Backend() as backend, threaded(tmp_path, backend.url) as running, running.connect() as client:
        client.send(get("/", *HANDSHAKE, f"Origin: {ORIGIN}"))
        peer = backend.accept()
        peer.send(switching(peer.request()))
        assert client.head().status == 101
        watched(running, turns, client, sent(PING, b"?") * 5000, 5000)
    assert turns.most <= 130
