"""Connections that are kept: to the backend as long as it keeps them, to clients until a drain begins."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.support.backends import Backend, Serving, answer
from tests.support.raw import Message, get, post
from tests.support.sidecar import Running, sidecar, threaded, until


class Closing(Serving):
    """Closes connections that rest longer than it says, as servers do."""

    def __init__(self, rest: float, *lines: str) -> None:
        super().__init__(lambda _: answer(b"ok", *lines))
        self.rest = rest
        self.connections = 0

    def _serve(self, sock: socket.socket) -> None:
        self.connections += 1
        sock.settimeout(self.rest)
        super()._serve(sock)


def asked(running: Running, raw: bytes) -> Message:
    with running.connect() as client:
        return client.send(raw).response()


def test_a_rest_that_the_backend_does_not_promise_is_not_used(tmp_path: Path):
    with Closing(60, "Keep-Alive: timeout=1") as backend, threaded(tmp_path, backend.url) as running:
        for _ in range(3):
            assert asked(running, post("/", b"{}")).status == 200
        assert backend.connections == 1
        time.sleep(1.2)
        assert asked(running, post("/", b"{}")).status == 200
        assert backend.connections == 2
        time.sleep(1.2)
        assert asked(running, get("/")).status == 200
        assert backend.connections == 3


def test_a_promise_lets_posts_use_it_longer(tmp_path: Path):
    with Closing(60, "Keep-Alive: timeout=30") as backend, threaded(tmp_path, backend.url) as running:
        assert asked(running, post("/", b"{}")).status == 200
        time.sleep(2)
        assert asked(running, post("/", b"{}")).status == 200
        assert backend.connections == 1


def test_the_policys_word(tmp_path: Path):
    with (
        Closing(60) as backend,
        threaded(tmp_path, backend.url, backend={"timeouts": {"keep_alive": "500ms"}}) as running,
    ):
        assert asked(running, get("/")).status == 200
        time.sleep(0.7)
        assert asked(running, get("/")).status == 200
        assert backend.connections == 2


@pytest.mark.parametrize(("raw", "status"), [(post("/", b"{}"), 502), (get("/"), 200)], ids=["post", "get"])
def test_a_request_that_meets_a_closing_connection(tmp_path: Path, raw: bytes, status: int):
    with Backend() as backend, threaded(tmp_path, backend.url) as running, running.connect() as client:
        client.send(raw)
        peer = backend.accept()
        peer.request()
        peer.send(answer())
        assert client.response().status == 200
        client.send(raw)
        assert peer.sock.recv(1, socket.MSG_PEEK)  # it is there, and was not read
        peer.close()
        if status == 200:
            again = backend.accept()
            again.request()
            again.send(answer())
        reply = client.response()
        assert reply.status == status
        assert reply.get(b"x-should-retry") == (b"true" if status == 502 else None)
        assert backend.untouched()


def test_answers_during_the_drains_delay_say_that_they_are_the_last(tmp_path: Path):
    listen = {"drain": "10s", "drain_delay": "3s"}
    with Backend() as backend, sidecar(tmp_path, backend.url, listen=listen) as running:
        assert running.process is not None
        with running.connect() as kept, running.connect() as waiting, running.connect() as idle:
            kept.send(get("/"))
            peer = backend.accept()
            for client in (kept, idle):
                if client is idle:
                    client.send(get("/"))
                peer.request()
                peer.send(answer())
                assert client.response().get(b"connection") is None
            waiting.send(get("/slow"))
            slow = peer
            slow.request()

            running.process.signal(signal.SIGTERM)
            until(lambda: running.fetch("/readyz")[0] == 503, "the sidecar to be unready")
            slow.send(answer())  # a request that was under way
            assert waiting.response().get(b"connection") == b"close"
            assert waiting.ended(2)
            kept.send(get("/"))
            peer.request()
            peer.send(answer())
            reply = kept.response()
            assert (reply.status, reply.get(b"connection")) == (200, b"close")
            assert kept.ended(2)
            with running.connect() as late:
                late.send(get("/"))
                peer.request()
                peer.send(answer())
                assert late.response().get(b"connection") == b"close"
            assert idle.ended(10)
        assert running.process.wait() == 0
