"""Events for another system, posted as JSON to a URL.

A request never waits: what cannot be delivered waits in a bounded queue, where the oldest event gives way. A body that
is not taken is tried again with growing pauses for `retry_for`, under one id, then given up and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sidecar.clock import Clock
from sidecar.events import SecurityEvent, Served
from sidecar.telemetry.log_record import TimestampFormatter, dump, event_fields
from sidecar.telemetry.webhook_target import TIMEOUT, NotTaken, Post, Target, post

QUEUED: Final = 1000
"""Events that wait, each of at most 16 KiB (`log_record.MAX_LINE`)."""
PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Body:
    """Events that are posted together. The id is the same for every try: a receiver can drop what came twice."""

    message_id: str
    lines: list[bytes]
    since: float  # monotonic seconds of the first try


class Webhook:
    """An EventSink. `target` None: nothing is kept or sent."""

    only_events = True

    def __init__(
        self,
        target: Target | None,
        clock: Clock,
        send: Post = post,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._target = target
        self._clock = clock
        self._send = send
        self._wait = wait
        self._queue: deque[bytes] = deque(maxlen=QUEUED)
        self._body: _Body | None = None
        self._stamp = TimestampFormatter()
        self._waiting = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        self.lost = 0  # events that gave way to newer ones, or were given up

    @property
    def waiting(self) -> int:
        """How many events are not delivered yet."""
        return len(self._queue) + (len(self._body.lines) if self._body is not None else 0)

    def start(self) -> None:
        """Deliver from now on."""
        self._task = asyncio.create_task(self._run(), name="webhook")

    def use(self, target: Target | None) -> None:
        """Take over the target of a reloaded policy; what waits goes there. None: it is dropped."""
        self._target = target
        if target is None:
            self._queue.clear()
            self._body = None

    async def close(self) -> None:
        """Try once more to deliver what waits, then stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                while await self._post_next():
                    pass
        if self.waiting:
            _log.warning("webhook: %d events were not delivered before the end", self.waiting)

    def record(self, event: SecurityEvent) -> None:
        """Queue an event that the target chooses; a full queue drops its oldest and counts it in `lost`."""
        if self._target is None or not self._target.chooses(event.event):
            return
        self.lost += len(self._queue) == QUEUED
        self._queue.append(dump(event_fields(event, self._stamp(event.at))))
        self._waiting.set()

    def served(self, served: Served) -> None:
        """Drop the summary: finished requests are not sent."""

    async def _run(self) -> None:
        while True:
            await self._waiting.wait()
            await self._wait(PAUSE)  # what happens together goes together
            self._waiting.clear()
            pause = PAUSE
            while True:
                try:
                    if not await self._post_next():
                        break
                    pause = PAUSE
                except OSError as error:
                    after = self._not_taken(error)
                    await self._wait(max(pause, after))
                    pause = min(pause * 2, LONGEST_PAUSE)

    def _not_taken(self, error: OSError) -> float:
        """Give the body up when its time is over or it would never be taken; return seconds that were asked for."""
        body, target = self._body, self._target
        if body is None or target is None:
            return 0.0
        final = isinstance(error, NotTaken) and error.final
        what = str(error) if isinstance(error, NotTaken) else type(error).__name__
        if final or self._clock.monotonic() - body.since >= target.retry_for:
            _log.error("events.webhook did not take %d events (%s); they are given up", len(body.lines), what)
            self.lost += len(body.lines)
            self._body = None
        elif self._clock.monotonic() == body.since:
            _log.warning("events.webhook does not take events (%s); they wait", what)
        return min(error.after, LONGEST_PAUSE) if isinstance(error, NotTaken) else 0.0

    async def _post_next(self) -> bool:
        """Post the body that is under way, or the next one; False when nothing waits. OSError: it was not taken."""
        target = self._target
        if target is None or not (self._body or self._queue):
            return False
        if self._body is None:
            lines = [self._queue.popleft() for _ in range(min(target.at_once, len(self._queue)))]
            self._body = _Body(f"msg_{uuid4().hex}", lines, self._clock.monotonic())
        body = self._body
        # A reload may have brought a form that takes fewer events at once.
        lines, rest = body.lines[: target.at_once], body.lines[target.at_once :]
        if rest:
            body = self._body = _Body(body.message_id, lines, body.since)
            self._queue.extendleft(reversed(rest))
        content = target.body(lines)
        headers = target.headers(content, body.message_id, self._clock.now())
        await asyncio.to_thread(self._send, target, content, headers)
        self.delivered += len(lines)
        if self._body is body:
            self._body = None
        return True
