"""Asks the backend whether it is ready, where the policy wants that to be part of `/readyz`.

The probe has a connection of its own, outside the pool: a full pool is no backend that is down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.clock import Clock
from sidecar.events import EventSink, SecurityEvent
from sidecar.policy.policy import BackendTarget
from sidecar.policy.schema.listeners import Ready
from sidecar.vocabulary import Event, Outcome

LONGEST_LINE: Final = 1024
"""Bytes of a status line."""


@dataclass(slots=True)
class _Answer:
    """What the backend said last: "" for ready, else why not. `until` is monotonic seconds."""

    reason: str
    until: float
    asked: tuple[str, BackendTarget]


class BackendProbe:
    """`reason()` returns why the backend is not ready; "" when it is, or when the policy does not ask.

    All calls of one moment share one probe, and its result is kept for `ready.cache`, so that polling `/readyz`
    does not load the backend.
    """

    def __init__(self, current: Callable[[], tuple[Ready, BackendTarget]], clock: Clock, events: EventSink) -> None:
        self._current = current
        self._clock = clock
        self._events = events
        self._last: _Answer | None = None
        self._running: asyncio.Task[str] | None = None

    async def reason(self) -> str:
        """Return the last result while it is fresh, else that of a probe; waits `ready.timeout` at most."""
        ready, target = self._current()
        if ready.backend is None:
            return ""
        last = self._last
        if last is not None and last.asked == (ready.backend, target) and self._clock.monotonic() < last.until:
            return last.reason
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._probe(ready, ready.backend, target), name="backend-probe")
        # A caller that leaves must not end the probe that others wait for.
        return await asyncio.shield(self._running)

    async def close(self) -> None:
        """Cancel a probe that is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _probe(self, ready: Ready, path: str, target: BackendTarget) -> str:
        try:
            async with asyncio.timeout(ready.timeout):
                status = await _status(target, path)
        except TimeoutError:
            why = f"no response within {ready.timeout:g} s"
        except (OSError, ValueError) as error:
            why = f"no HTTP response ({type(error).__name__})"
        else:
            why = "" if 200 <= status < 400 else f"status {status}"
        reason = f"backend: GET {path}: {why}" if why else ""
        if reason and (self._last is None or not self._last.reason):
            self._record(path, why)
        self._last = _Answer(reason, self._clock.monotonic() + ready.cache, (path, target))
        return reason

    def _record(self, path: str, why: str) -> None:
        """Say once, when the backend ceases to be ready, what took the process out of service."""
        detail = {"probe": path, "reason": why}
        self._events.record(SecurityEvent(Event.BACKEND_ERROR, Outcome.FAILED, self._clock.now(), detail=detail))


async def _status(target: BackendTarget, path: str) -> int:
    """Return the status of one GET. Raises OSError, or ValueError for what is no HTTP response."""
    if target.path:
        reader, writer = await asyncio.open_unix_connection(target.path, limit=LONGEST_LINE)
    else:
        name = target.server_name if target.tls is not None else None
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=target.tls, server_hostname=name, limit=LONGEST_LINE
        )
    try:
        lines = (f"GET {path} HTTP/1.1".encode(), b"Host: " + target.authority, b"User-Agent: chat-sidecar-probe")
        writer.write(b"\r\n".join((*lines, b"Accept: */*", b"Connection: close", b"", b"")))
        await writer.drain()
        version, _, rest = (await reader.readuntil(b"\n")).partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise ValueError("no status line")
        return int(rest[:3])
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ValueError("no status line") from None
    finally:
        # Not closed politely: nothing more of the response is wanted.
        writer.transport.abort()
