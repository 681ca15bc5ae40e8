"""Recent events: as a list, or live as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from sidecar.admin.api_request import MAX_PAGE, ApiRequest, ApiResponse
from sidecar.admin.ports import EventSubscription
from sidecar.admin.refusal import refuse
from sidecar.vocabulary import Code

HEARTBEAT: Final = 15.0
LOOK: Final = 1.0  # seconds after which a reader who has left is noticed, and its place is free
STALL: Final = 10.0  # seconds that a write may wait for a reader who does not read


async def recent(call: ApiRequest) -> ApiResponse | web.StreamResponse:
    """`GET /api/events?limit=100&after=0`, or live with `Accept: text/event-stream`."""
    organization = call.scope(call.text("organization"))
    after = call.number("after", 0, 0, 2**53)
    if "text/event-stream" in call.request.headers.get("Accept", ""):
        return await _stream(call, organization, after)
    limit = call.number("limit", 100, 1, MAX_PAGE)
    return ApiResponse({"events": list(call.parts.recent.latest(limit=limit, organization=organization, after=after))})


async def _stream(call: ApiRequest, organization: str | None, after: int) -> web.StreamResponse:
    watcher = call.parts.recent.watch(organization)
    if watcher is None:
        raise refuse(Code.OVERLOADED, "Too many watch already", headers={"Retry-After": "30"})
    try:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(call.request)
        last = _last_event(call.request) or after
        seen = 0
        for event in call.parts.recent.latest(limit=100, organization=organization, after=last):
            seen = event["seq"]
            await _send(response, _message(event))
        await _send(response, b": live\n\n")
        await _follow(call, response, watcher, seen)
    except (ConnectionError, TimeoutError):
        pass  # the reader left, or does not read: the stream ends without more
    finally:
        watcher.close()
    return response


async def _follow(call: ApiRequest, response: web.StreamResponse, watcher: EventSubscription, seen: int) -> None:
    quiet = 0.0
    # A stream does not outlive the token that opened it.
    while (left := call.grant.expires - call.parts.clock.now()) > 0 and call.request.transport is not None:
        wait = min(LOOK, left)
        events, missed = await watcher.next(wait)
        if missed:
            await _send(response, b'event: missed\ndata: {"count": %d}\n\n' % missed)
        # What came between subscribing and looking back was sent already.
        fresh = b"".join(_message(event) for event in events if event["seq"] > seen)
        quiet = 0.0 if fresh or missed else quiet + wait
        if fresh or quiet >= HEARTBEAT:
            quiet = 0.0
            await _send(response, fresh or b": still here\n\n")


async def _send(response: web.StreamResponse, data: bytes) -> None:
    await asyncio.wait_for(response.write(data), STALL)


def _message(event: Mapping[str, Any]) -> bytes:
    return b"id: %d\ndata: %b\n\n" % (event["seq"], orjson.dumps(event))


def _last_event(request: web.BaseRequest) -> int:
    """Return where a client that reconnects had got to (`Last-Event-ID`)."""
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
