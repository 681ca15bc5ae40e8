"""SIGTERM: not ready at once, new connections for a moment longer, running work ends in peace, exit code 0."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.backends import Backend, answer
from tests.support.processes import Process
from tests.support.raw import Closed, Raw, get
from tests.support.sidecar import Running, sidecar, until

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def process_of(running: Running) -> Process:
    assert running.process is not None
    return running.process


def stream(running: Running, backend: Backend) -> tuple[Raw, Raw]:
    client = running.connect()
    client.send(get("/events"))
    peer = backend.accept()
    peer.request()
    peer.send(SSE + b"9\r\ndata: 1\n\n\r\n")
    client.head()
    client.chunk()
    return client, peer


def test_a_drain_from_its_beginning_to_its_end(tmp_path: Path):
    listen = {"drain": "20s", "drain_delay": "1s"}
    with Backend() as backend, sidecar(tmp_path, backend.url, listen=listen) as running:
        process = process_of(running)
        client, peer = stream(running, backend)
        idle = running.connect()
        with client, idle:
            idle.send(get("/before"))
            before = backend.accept()
            before.request()
            before.send(answer())
            assert idle.response().get(b"connection") is None

            process.signal(signal.SIGTERM)
            until(lambda: running.fetch("/readyz")[0] == 503, "the sidecar to be unready")
            assert "drain" in running.fetch("/readyz")[1]
            assert running.fetch("/livez")[0] == 200
            with running.connect() as late:  # within the delay: balancers have not noticed yet
                late.send(get("/late"))
                before.request()
                before.send(answer(b"still served"))
                assert late.response().body == b"still served"

            assert idle.ended(10)  # kept connections are closed when the drain begins
            with pytest.raises(ConnectionRefusedError):
                until(lambda: running.connect().close() is not None, "new connections to be refused", 10)
            assert process.exit_code is None

            for number in range(3):
                peer.send(b"9\r\ndata: %d\n\n\r\n" % number)
                assert client.chunk() == b"data: %d\n\n" % number
            peer.send(b"0\r\n\r\n")
            assert client.chunk() == b""
            assert client.ended(5)
        assert process.wait() == 0
        # What is off without secrets, and where it listens: no word more.
        assert process.output().count("\n") == 2


def test_what_runs_longer_than_the_drain_is_cut_as_broken(tmp_path: Path):
    with Backend() as backend, sidecar(tmp_path, backend.url, listen={"drain": "1s"}) as running:
        client, peer = stream(running, backend)
        with client:
            began = time.monotonic()
            process_of(running).signal(signal.SIGTERM)
            with pytest.raises(Closed) as cut:
                client.chunk()
            assert b"0\r\n" not in cut.value.got
            assert 0.5 < time.monotonic() - began < 10
            assert peer.ended()
        assert process_of(running).wait() == 0


def test_the_log_is_whole_after_the_end(tmp_path: Path):
    with Backend() as backend, sidecar(tmp_path, backend.url) as running:
        with running.connect() as client:
            for number in range(20):
                client.send(get(f"/{number}", "Origin: https://evil.example"))
                assert client.response().status == 403
            process_of(running).signal(signal.SIGTERM)
        assert process_of(running).wait() == 0
        paths = [line["path"] for line in running.lines() if line["event"] == "CORS_BLOCKED"]
        assert paths == [f"/{number}" for number in range(20)]
