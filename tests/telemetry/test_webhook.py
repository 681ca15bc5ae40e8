"""Events that go to another system: which, in what form, and what happens when it does not take them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from sidecar.telemetry import webhook as module
from sidecar.telemetry.webhook import QUEUED, Webhook, post_json
from sidecar.vocabulary import Event
from tests.support.facts import event, served


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)


class Taken:
    """Stands where the other system is: takes bodies, or fails as often as it was told."""

    def __init__(self, failures: int = 0) -> None:
        self.bodies: list[list[dict[str, Any]]] = []
        self.failures = failures

    def __call__(self, _url: str, body: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("status 503")
        self.bodies.append(json.loads(body))

    def names(self) -> list[str]:
        return [each["event"] for body in self.bodies for each in body]


async def test_audit_events_warnings_and_errors_go_together() -> None:
    taken = Taken()
    webhook = Webhook("https://collector.example/in", taken)
    webhook.start()
    for kind in (Event.ADMIN_ACTION, Event.CORS_BLOCKED, Event.SESSION_CREATED, Event.BACKEND_ERROR):
        webhook.record(event(kind))
    webhook.served(served())
    await asyncio.sleep(0.1)
    assert taken.names() == ["ADMIN_ACTION", "CORS_BLOCKED", "BACKEND_ERROR"]
    assert len(taken.bodies) == 1
    await webhook.close()


async def test_what_was_not_taken_waits_and_comes_in_order() -> None:
    taken = Taken(failures=2)
    webhook = Webhook("https://collector.example/in", taken)
    webhook.start()
    for _ in range(250):
        webhook.record(event(Event.ADMIN_ACTION))
    webhook.record(event(Event.CORS_BLOCKED))
    for _ in range(100):
        if len(taken.names()) == 251:
            break
        await asyncio.sleep(0.05)
    assert taken.names() == ["ADMIN_ACTION"] * 250 + ["CORS_BLOCKED"]
    assert [len(body) for body in taken.bodies] == [100, 100, 51]
    await webhook.close()


async def test_the_queue_is_bounded_and_the_oldest_go_first() -> None:
    webhook = Webhook("https://collector.example/in", Taken(failures=10**6))
    for _ in range(QUEUED + 5):
        webhook.record(event(Event.ADMIN_ACTION))
    assert (len(webhook._queue), webhook.lost) == (QUEUED, 5)
    await webhook.close()


async def test_the_end_delivers_what_waits_and_a_reload_may_switch_it_off() -> None:
    taken = Taken()
    webhook = Webhook("https://collector.example/in", taken)
    webhook.record(event(Event.ADMIN_ACTION))
    await webhook.close()
    assert taken.names() == ["ADMIN_ACTION"]
    webhook.use(None)
    webhook.record(event(Event.ADMIN_ACTION))
    await webhook.close()
    assert len(taken.bodies) == 1


@contextmanager
def collector(status: int, seen: list[tuple[str, str, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Content-Type"], body))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/in"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "is_taken"), [(200, True), (204, True), (302, False), (500, False)])
def test_a_real_server(status: int, is_taken: bool) -> None:
    seen: list[tuple[str, str, bytes]] = []
    with collector(status, seen) as url:
        if is_taken:
            post_json(url, b"[1]")
        else:
            with pytest.raises(OSError, match=f"status {status}"):
                post_json(url, b"[1]")
    assert seen == [("/in", "application/json", b"[1]")]


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(OSError, match="refused"):
        post_json("http://127.0.0.1:1/in", b"[]")
