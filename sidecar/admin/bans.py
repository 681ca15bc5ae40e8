"""Bans: list, add, lift."""

from __future__ import annotations

from typing import Any, Final

from sidecar.admin.api_request import ApiRequest, ApiResponse, iso
from sidecar.admin.limits import address
from sidecar.admin.refusal import invalid, refuse
from sidecar.stores.interfaces import Ban
from sidecar.vocabulary import Code

FOR: Final = 900.0  # seconds, as `clients.ban.for`
LONGEST: Final = 366 * 86400.0
SHOWN: Final = 1000


async def list_all(call: ApiRequest) -> ApiResponse:
    """`GET /api/bans`: the bans in force, soonest end first."""
    call.needs_all()
    now = call.parts.clock.now()
    bans = await call.parts.bans.list(now)
    return ApiResponse({"bans": [_shown(ban) for ban in bans[:SHOWN]], "count": len(bans)})


async def show(call: ApiRequest) -> ApiResponse:
    """`GET /api/bans/{ip}`: one ban, why it began and until when it is."""
    call.needs_all()
    subject = address(call, call.names["ip"])
    for ban in await call.parts.bans.list(call.parts.clock.now()):
        if ban.subject == subject:
            return ApiResponse(_shown(ban))
    raise refuse(Code.NOT_FOUND, "This address is not banned")


async def add(call: ApiRequest) -> ApiResponse:
    """`POST /api/bans` `{"ip": "203.0.113.9", "seconds": 900, "reason": "…"}`: ban by hand, on every replica."""
    call.needs_all()
    body = await call.body()
    subject = address(call, body.text("ip", 64))
    seconds = body.optional("seconds", int)
    reason = body.text("reason", 200) if body.has("reason") else "by hand"
    body.done()
    length = FOR if seconds is None else float(seconds)
    if not 1 <= length <= LONGEST:
        raise invalid("`seconds` is from 1 to 31622400")
    call.subject = f"ip:{subject}"
    await call.note()
    ban = Ban(subject, call.parts.clock.now() + length, reason)
    await call.parts.bans.ban(ban.subject, ban.until, ban.reason)
    return ApiResponse(_shown(ban), 201, {"seconds": int(length)})


async def lift(call: ApiRequest) -> ApiResponse:
    """`DELETE /api/bans/{ip}`, or `DELETE /api/bans` with `{"ip": …}`: lift a ban."""
    call.needs_all()
    if "ip" in call.names:
        text = call.names["ip"]
    elif (given := call.text("ip")) is not None:
        text = given
    else:
        body = await call.body()
        text = body.text("ip", 64)
        body.done()
    subject = address(call, text)
    call.subject = f"ip:{subject}"
    await call.note()
    if not await call.parts.bans.lift(subject):
        raise refuse(Code.NOT_FOUND, "This address is not banned")
    return ApiResponse({"ip": subject, "lifted": True})


def _shown(ban: Ban) -> dict[str, Any]:
    return {
        "ip": ban.subject,
        "until": iso(ban.until),
        "reason": ban.reason,
        "strikes": ban.strikes,
        "kinds": dict(ban.kinds),
        "requests": list(ban.requests),
    }
