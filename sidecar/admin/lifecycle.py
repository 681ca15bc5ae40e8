"""Maintenance mode and draining of this process. Other replicas have switches of their own."""

from __future__ import annotations

from typing import Final

from sidecar.admin.api_request import ApiRequest, ApiResponse
from sidecar.admin.refusal import invalid
from sidecar.events import SecurityEvent
from sidecar.maintenance import MESSAGE, RETRY_AFTER
from sidecar.vocabulary import Event, Outcome

LONGEST_MESSAGE: Final = 500
LONGEST_WAIT: Final = 86_400


async def show(call: ApiRequest) -> ApiResponse:
    """`GET /api/maintenance`: `{"on": false}`, or the message and `retry_after` in seconds."""
    return ApiResponse(dict(call.parts.maintenance.state()))


async def on(call: ApiRequest) -> ApiResponse:
    """`POST /api/maintenance` `{"message", "retry_after"}`: refuse every request of the public listener from now on."""
    call.needs_all()
    body = await call.body()
    message = body.text("message", LONGEST_MESSAGE) if body.has("message") else MESSAGE
    retry_after = body.optional("retry_after", int) if body.has("retry_after") else int(RETRY_AFTER)
    body.done()
    if retry_after is None or not 1 <= retry_after <= LONGEST_WAIT:
        raise invalid(f"`retry_after` is a number of seconds, 1 to {LONGEST_WAIT}")
    if not message.isprintable():
        raise invalid("`message` is one line of text")
    await call.note()
    call.parts.maintenance.on(message, float(retry_after))
    _record(call, "on")
    return ApiResponse(dict(call.parts.maintenance.state()))


async def off(call: ApiRequest) -> ApiResponse:
    """`DELETE /api/maintenance`: serve again."""
    call.needs_all()
    await call.note()
    call.parts.maintenance.off()
    _record(call, "off")
    return ApiResponse(dict(call.parts.maintenance.state()))


async def drain(call: ApiRequest) -> ApiResponse:
    """`POST /api/drain`: report not ready from now on; requests are still served until SIGTERM."""
    call.needs_all()
    await call.note()
    call.parts.drain()
    return ApiResponse({"draining": True})


def _record(call: ApiRequest, state: str) -> None:
    now = call.parts.clock.now()
    call.parts.events.record(
        SecurityEvent(Event.MAINTENANCE, Outcome.ALLOWED, now, call.request_id, detail={"state": state})
    )
