"""Server-sent events, word by word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from sidecar.demo.stand_in_model import pieces

PACE: web.AppKey[float] = web.AppKey("PACE")

MEDIA_TYPE: Final = "text/event-stream"


class EventStream:
    """Write events to one client."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response

    async def send(self, data: Any, event: str = "") -> None:
        """Send one event; a string goes out as it is, anything else as JSON."""
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        name = f"event: {event}\n" if event else ""
        await self.response.write(f"{name}data: {text}\n\n".encode())


@asynccontextmanager
async def event_stream(request: web.Request) -> AsyncIterator[EventStream]:
    """Open a stream of events; a client that leaves ends it quietly."""
    response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        yield EventStream(response)
        await response.write_eof()
    except ConnectionResetError:
        return


async def spoken(request: web.Request, text: str) -> AsyncIterator[str]:
    """Yield the words of an answer at the parrot's pace."""
    for number, piece in enumerate(pieces(text)):
        if number:
            await asyncio.sleep(request.app[PACE])
        yield piece
