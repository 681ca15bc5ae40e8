"""With few file descriptors and many idle clients, probes are answered, chats go on, and it is logged and counted."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from tests.support.backends import Backend, answer
from tests.support.processes import LOOPBACK, free_port
from tests.support.raw import get
from tests.support.sidecar import policy_text, started

FEW = ("bash", "-c", 'ulimit -n 128; exec "$@"', "bash")


@pytest.fixture
def crowded(tmp_path: Path):
    """A sidecar that may open 128 files, and 400 clients that connect and say nothing."""
    policy = tmp_path / "policy.yaml"
    with Backend() as backend, contextlib.ExitStack() as idle:
        policy.write_text(policy_text(backend.url, tmp_path, free_port(), free_port()))
        with started(policy, tmp_path, before=FEW) as front:
            for _ in range(400):
                client = idle.enter_context(socket.socket())
                client.settimeout(5)
                with contextlib.suppress(OSError):
                    client.connect((LOOPBACK, front.public))
            yield front, backend


def test_probes_are_answered_and_it_is_said(crowded):
    front, _ = crowded
    for _ in range(20):
        assert front.fetch("/livez") == (200, '{"status": "alive"}')
    assert front.fetch("/readyz")[0] == 200
    assert front.metric("sidecar_descriptors_short_total") > 100
    front.logged(event="OVERLOADED", detail={"reason": "file descriptors"})
    lines = [line for line in front.lines() if line["event"] == "OVERLOADED"]
    assert [line["detail"]["reason"] for line in lines] == ["file descriptors"]


def test_a_chat_goes_on(crowded):
    front, backend = crowded
    with front.connect() as client:
        client.send(get("/"))
        peer = backend.accept()
        peer.request()
        peer.send(answer(b"fine"))
        assert client.response().body == b"fine"


def test_probes_are_answered_while_connections_keep_coming(crowded):
    front, _ = crowded
    with contextlib.ExitStack() as more:
        for _ in range(30):
            for _ in range(100):
                client = more.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex((LOOPBACK, front.public))
            assert front.fetch("/livez")[0] == 200


def test_probes_are_answered_beside_silent_connections_to_their_own_listener(crowded):
    front, _ = crowded
    with contextlib.ExitStack() as more:
        for number in range(300):
            client = more.enter_context(socket.socket())
            client.bind((f"127.0.0.{2 + number % 6}", 0))  # below what one peer may have
            client.setblocking(False)
            client.connect_ex((LOOPBACK, front.management))
        began = time.monotonic()
        for _ in range(5):
            assert front.fetch("/livez")[0] == 200
        assert time.monotonic() - began < 10, "sooner than silent connections are closed for their silence"
