"""The backend as a part of readiness: what counts as ready, how long is waited, how often it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.admin.backend_probe import BackendProbe
from sidecar.errors import Problems
from sidecar.policy.backend_target import build_target
from sidecar.policy.policy import BackendTarget
from sidecar.policy.schema.backend import Timeouts
from sidecar.policy.schema.listeners import Ready
from sidecar.vocabulary import Event, Outcome
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder

PATH = "/health"


def target(url: str) -> BackendTarget:
    problems = Problems()
    made = build_target(url, None, Timeouts(), problems, preserve_host=True, max_connections=1)
    assert problems.found == []
    return made


class Answering:
    """A backend that answers each connection with the same bytes, and keeps what was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        if not self.answer:
            await reader.read()  # silent until the other side leaves
        writer.close()


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[tuple[str, Answering]]:
    backend = Answering(answer)
    async with await asyncio.start_server(backend, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", backend


class Asked:
    """A probe with its clock and its log."""

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.clock, self.log = FakeClock(), Recorder()
        self.ready = Ready(backend=PATH).model_copy(update={"timeout": timeout})
        made = target(url)
        self.probe = BackendProbe(lambda: (self.ready, made), self.clock, self.log)
        self.reason: Callable[[], object] = self.probe.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "status 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP response (ValueError)"),
        (b"HTTP/1.1 " + b"2" * 5000, "no HTTP response (ValueError)"),
        (b"HTTP/1.1", "no HTTP response (ValueError)"),
    ],
    ids=["200", "204", "redirect", "404", "503", "another protocol", "an endless line", "half a line"],
)
async def test_what_counts_as_ready(answer: bytes, reason: str) -> None:
    async with serving(answer) as (url, backend):
        asked = Asked(url)
        assert await asked.probe.reason() == (f"backend: GET {PATH}: {reason}" if reason else "")
    host = url.removeprefix("http://").encode()
    assert backend.asked[0].startswith(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n")


async def test_a_silent_backend_is_waited_for_no_longer_than_the_timeout() -> None:
    async with serving(b"") as (url, _):
        asked = Asked(url, timeout=0.05)
        assert await asked.probe.reason() == f"backend: GET {PATH}: no response within 0.05 s"


async def test_a_backend_that_is_not_there() -> None:
    assert await Asked("http://127.0.0.1:1").probe.reason() == (
        f"backend: GET {PATH}: no HTTP response (ConnectionRefusedError)"
    )


async def test_a_unix_socket(tmp_path: Path) -> None:
    socket = tmp_path / "app.sock"
    backend = Answering(b"HTTP/1.1 200 OK\r\n\r\n")
    async with await asyncio.start_unix_server(backend, socket):
        assert await Asked(f"unix:{socket}").probe.reason() == ""
    assert b"Host: localhost\r\n" in backend.asked[0]


async def test_callers_of_one_moment_share_a_probe_and_its_result_is_kept() -> None:
    async with serving(b"HTTP/1.1 503 Busy\r\n\r\n") as (url, backend):
        asked = Asked(url)
        reasons = await asyncio.gather(*(asked.probe.reason() for _ in range(50)))
        assert set(reasons) == {f"backend: GET {PATH}: status 503"}
        assert len(backend.asked) == 1
        asked.clock.advance(asked.ready.cache - 0.01)
        await asked.probe.reason()
        assert len(backend.asked) == 1
        backend.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        asked.clock.advance(0.02)
        assert await asked.probe.reason() == ""
        assert len(backend.asked) == 2


async def test_the_log_says_once_what_took_the_process_out_of_service() -> None:
    async with serving(b"HTTP/1.1 503 Busy\r\n\r\n") as (url, _):
        asked = Asked(url)
        for _ in range(3):
            await asked.probe.reason()
            asked.clock.advance(60)
    (event,) = asked.log.events
    assert (event.event, event.outcome) == (Event.BACKEND_ERROR, Outcome.FAILED)
    assert event.detail == {"probe": PATH, "reason": "status 503"}


async def test_a_policy_without_a_probe_sends_none() -> None:
    async with serving(b"") as (url, backend):
        asked = Asked(url)
        asked.ready = Ready()
        assert await asked.probe.reason() == ""
        assert backend.asked == []
        await asked.probe.close()
