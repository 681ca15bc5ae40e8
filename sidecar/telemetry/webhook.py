"""Events for another system: what an operator did, and what went wrong, posted as JSON to a URL.

AUDIT events, and others of level warning or error; no line of a single request that was served. What
cannot be delivered waits in a bounded queue, the oldest goes first; a request never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from sidecar.events import SecurityEvent, Served
from sidecar.telemetry.log_record import TimestampFormatter, dump, event_fields
from sidecar.vocabulary import Category, Level

QUEUED: Final = 1000
AT_ONCE: Final = 100
PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
TIMEOUT: Final = 5.0

_log = logging.getLogger(__name__)


class Webhook:
    """An EventSink. `url` None: nothing is kept or sent. `post` sends one body and raises OSError."""

    def __init__(self, url: str | None, post: Callable[[str, bytes], None] | None = None) -> None:
        self._url = url
        self._post = post or post_json
        self._queue: deque[bytes] = deque(maxlen=QUEUED)
        self._stamp = TimestampFormatter()
        self._waiting = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lost = 0  # events that gave way to newer ones

    def start(self) -> None:
        """Start the task that posts; call it on the running loop."""
        self._task = asyncio.create_task(self._run(), name="webhook")

    def use(self, url: str | None) -> None:
        """Take over the URL of a reloaded policy."""
        self._url = url
        if url is None:
            self._queue.clear()

    async def close(self) -> None:
        """Try once more to deliver what waits, then stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._queue:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(self._deliver(), TIMEOUT)

    def record(self, event: SecurityEvent) -> None:
        """Queue an audit event, a warning or an error; a full queue drops its oldest and counts it in `lost`."""
        kind = event.event
        if self._url is None or (kind.category is not Category.AUDIT and kind.level is Level.INFO):
            return
        self.lost += len(self._queue) == QUEUED
        self._queue.append(dump(event_fields(event, self._stamp(event.at))))
        self._waiting.set()

    def served(self, served: Served) -> None:
        """Drop the summary: finished requests are not sent."""

    async def _run(self) -> None:
        pause = PAUSE
        while True:
            await self._waiting.wait()
            await asyncio.sleep(pause)  # what happens together goes together
            try:
                await self._deliver()
            except OSError as error:
                if pause == PAUSE:
                    _log.warning("events.webhook does not take events (%s); they wait", type(error).__name__)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                pause = PAUSE

    async def _deliver(self) -> None:
        """Send what waits, in batches; what was not taken stays."""
        while self._queue and self._url is not None:
            batch = [self._queue[number] for number in range(min(AT_ONCE, len(self._queue)))]
            body = b"[" + b",".join(line.rstrip() for line in batch) + b"]"
            await asyncio.to_thread(self._post, self._url, body)
            for line in batch:
                if self._queue and self._queue[0] is line:
                    self._queue.popleft()
        self._waiting.clear()


def post_json(url: str, body: bytes) -> None:
    """POST a JSON body; OSError when it was not taken with a 2xx. Redirects are not followed. Blocks."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    with contextlib.closing(connection):
        try:
            connection.request("POST", parts.path or "/", body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(type(error).__name__) from None
    if not 200 <= status < 300:
        raise OSError(f"status {status}")
