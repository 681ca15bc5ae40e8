"""A policy changes while requests run: each sees one whole policy, none fails, a broken one changes nothing."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.support.backends import Backend, Serving, answer
from tests.support.configmap import ConfigMap
from tests.support.processes import free_port
from tests.support.raw import Message, get
from tests.support.sidecar import ORIGIN, Running, policy_text, sidecar, started, until

SWAPS = 24
FIRST = 900_000
PAGE = f"Origin: {ORIGIN}"


@dataclass
class Services:
    """A sidecar whose policy is mounted as Kubernetes mounts a ConfigMap."""

    running: Running
    volume: ConfigMap
    edition: Callable[[int], str]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Services]:
    ports = free_port(), free_port()

    def edition(number: int) -> str:
        """Return a policy that says its number in three headers of every answer, made by three parts of it."""
        return policy_text(
            backend.url,
            tmp_path,
            *ports,
            cors={"exposed_headers": [f"X-Edition-{number}"]},
            security_headers={"Content-Security-Policy": f"default-src 'self' https://edition-{number}.example"},
            rate_limits=[{"name": "wide", "per": "ip", "limit": FIRST + number, "window": "1m"}],
        )

    mounted = tmp_path / "mounted"
    mounted.mkdir()
    with Serving() as backend:
        volume = ConfigMap(mounted, edition(0))
        with started(volume.path, tmp_path) as running:
            yield Services(running, volume, edition)


def edition_of(reply: Message) -> int:
    """Return the number of the policy that made an answer; all three parts must be of one."""
    assert reply.status == 200, reply.start
    exposed = re.search(rb"x-edition-(\d+)", reply.get(b"access-control-expose-headers") or b"", re.IGNORECASE)
    content = re.search(rb"edition-(\d+)", reply.get(b"content-security-policy") or b"")
    assert exposed is not None
    assert content is not None
    numbers = {int(exposed[1]), int(content[1]), int(reply.get(b"x-ratelimit-limit") or 0) - FIRST}
    assert len(numbers) == 1, numbers
    return numbers.pop()


def asked(running: Running) -> int:
    with running.connect() as client:
        return edition_of(client.send(get("/", PAGE, "Connection: close")).response())


class Crowd:
    """Clients that ask again and again, on kept connections, and remember what was wrong and what they saw."""

    def __init__(self, running: Running, size: int = 4) -> None:
        self._running = running
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(size)]
        self.wrong: list[Exception] = []
        self.seen: set[int] = set()
        self.count = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        try:
            with self._running.connect() as client:
                while not self._stop.is_set():
                    self.seen.add(edition_of(client.send(get("/load", PAGE)).response()))
                    self.count += 1
        except Exception as error:  # noqa: BLE001 - told to the test
            self.wrong.append(error)


def test_swaps_under_load(stage: Services):
    running, volume = stage.running, stage.volume
    with Crowd(running) as crowd:
        for number in range(1, SWAPS + 1):
            volume.swap(stage.edition(number))
            if number % 2 == 0:  # the others are overtaken, some of them before anybody saw them
                until(lambda number=number: number in crowd.seen or bool(crowd.wrong), f"edition {number} to be seen")
            if crowd.wrong:
                break
    assert crowd.wrong == []
    assert crowd.count > SWAPS
    assert len(crowd.seen) > SWAPS / 2
    assert running.metric("sidecar_policy_last_reload_successful") == 1


def test_a_broken_policy_changes_nothing_and_is_reported(stage: Services):
    running, volume = stage.running, stage.volume
    broken = stage.edition(1).replace("version: 1", "version: 1\nunknown_key: 1") + "\nmode: sometimes\n"
    with Crowd(running, 2) as crowd:
        volume.swap(broken)
        line = running.logged(event="POLICY_REJECTED")
        assert line["category"] == "SYSTEM"
        assert "unknown_key" in str(line["detail"])
        assert "mode" in str(line["detail"])  # every problem, not the first alone
        assert running.metric("sidecar_policy_last_reload_successful") == 0
        assert running.fetch("/readyz")[0] == 200
        assert asked(running) == 0
        volume.swap(stage.edition(2))
        until(lambda: 2 in crowd.seen, "the mended policy")
    assert crowd.wrong == []
    assert crowd.seen == {0, 2}
    assert running.metric("sidecar_policy_last_reload_successful") == 1
    assert running.logged(event="POLICY_RELOADED")


def test_a_hang_up_reloads(stage: Services):
    running, volume = stage.running, stage.volume
    assert running.process is not None
    before = running.metric("sidecar_policy_last_reload_timestamp_seconds")
    volume.swap(stage.edition(3))
    running.process.signal(signal.SIGHUP)
    until(lambda: asked(running) == 3, "the new edition")
    running.process.signal(signal.SIGHUP)  # the same text again is no error
    until(lambda: running.metric("sidecar_policy_last_reload_timestamp_seconds") > before, "the reload to be noted")
    assert running.metric("sidecar_policy_last_reload_successful") == 1


def reloads(running: Running) -> int:
    return sum(line["event"] == "POLICY_RELOADED" for line in running.lines())


def test_a_stream_in_flight_is_not_disturbed(tmp_path: Path):
    with Backend() as backend, sidecar(tmp_path, backend.url) as running, running.connect() as client:
        client.send(get("/events"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.head()
        ports = running.public, running.management
        for number in range(3):
            deny = ["127.0.0.0/8", f"10.0.0.{number}/32"]
            running.policy.write_text(
                policy_text(f"http://localhost:{backend.port}", tmp_path, *ports, clients={"deny": deny})
            )
            until(lambda number=number: reloads(running) > number, "the reload")
            peer.send(b"9\r\ndata: %d\n\n\r\n" % number)
            assert client.chunk() == b"data: %d\n\n" % number
        with running.connect() as late:
            reply = late.send(get("/")).response()
            assert reply.status == 403  # the new policy holds for everybody who comes now
        peer.send(b"0\r\n\r\n")
        assert client.chunk() == b""


def test_another_backend_takes_over_without_a_lost_request(tmp_path: Path):
    with (
        Serving(lambda _: answer(b"ok", "X-From: old")) as old,
        Serving(lambda _: answer(b"ok", "X-From: new")) as new,
        sidecar(tmp_path, old.url) as running,
        running.connect() as client,
    ):
        assert client.send(get("/")).response().get(b"x-from") == b"old"
        running.policy.write_text(policy_text(new.url, tmp_path, running.public, running.management))
        until(lambda: client.send(get("/")).response().get(b"x-from") == b"new", "the new backend")
