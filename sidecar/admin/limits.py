"""Rate limits: what they are, how full a subject's windows are, and emptying them."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isawaitable
from ipaddress import ip_address
from typing import Any, Final

from sidecar.admin.api_request import ApiRequest, ApiResponse, iso
from sidecar.admin.refusal import invalid
from sidecar.limit import Ask, Limit, Per
from sidecar.session import key_of

MAX_KEY: Final = 512
EVERYONE: Final = "all"
"""What a limit `per: global` counts."""


async def overview(call: ApiRequest) -> ApiResponse:
    """`GET /api/rate-limit/status`: the limits and the stores; an organization's token also sees its own windows."""
    limits = call.parts.policy.limits()
    shown: dict[str, Any] = {
        "limits": [_limit(limit) for limit in limits],
        "stores": {name: "up" if is_up else "down" for name, is_up in call.parts.stores().items()},
    }
    own = call.grant.organization
    if own is not None:
        shown["organization"] = {"key": own, "limits": await _windows(call, Per.ORGANIZATION, own)}
    return ApiResponse(shown)


async def status(call: ApiRequest) -> ApiResponse:
    """`GET /api/rate-limit/admin/status/{type}/{key}`: how full one subject's windows are."""
    per, subject = _subject(call, call.names["type"], call.names["key"])
    return ApiResponse({"type": per.value, "key": subject, "limits": await _windows(call, per, subject)})


async def reset(call: ApiRequest) -> ApiResponse:
    """`POST /api/rate-limit/reset`: forget what one subject has used."""
    body = await call.body()
    kind, key = body.text("type", 32), body.text("key", MAX_KEY)
    body.done()
    per, subject = _subject(call, kind, key)
    await call.note()
    count = await call.parts.rates.reset(per.value, subject)
    return ApiResponse({"type": per.value, "key": subject, "reset": count}, facts={"type": per.value, "windows": count})


def _subject(call: ApiRequest, kind: str, key: str) -> tuple[Per, str]:
    """Return what the stores count under; Refused when it is none of the caller's business."""
    try:
        per = Per(kind)
    except ValueError:
        raise invalid(f"`type` is one of {', '.join(Per)}") from None
    if not key or len(key) > MAX_KEY:
        raise invalid("`key` is missing, or too long")
    if per is Per.ORGANIZATION:
        call.within(key)
    else:
        call.needs_all()
    if per is Per.IP:
        key = address(call, key)
    elif per is Per.SESSION:
        key = session_subject(call, key)
    elif per is Per.GLOBAL:
        key = EVERYONE
    # The id of a session is a secret of its browser: its hash is in the record.
    call.subject = f"{per.value}:{shown(key) if per is Per.SESSION else key}"
    return per, key


def session_subject(call: ApiRequest, key: str) -> str:
    """Return what is counted for a session: its key, or `ip:ADDRESS` for requests from there without a session."""
    return f"ip:{address(call, key[3:])}" if key.startswith("ip:") else session_key(key)


def shown(session: str) -> str:
    """Return what a record says of a session: the first eight characters of its key, or the address in its place."""
    return session if session.startswith("ip:") else session[:8]


def address(call: ApiRequest, text: str) -> str:
    """Return the name under which an address is counted, or raise Refused."""
    try:
        ip_address(text.partition("/")[0])  # a prefix, as lists show it, is named by its first address
        return call.parts.subject_of(text.partition("/")[0])
    except ValueError:
        raise invalid("this is no IP address") from None


def session_key(text: str) -> str:
    """Return a session's key from its key (64 hex digits, as logs shorten it) or its id."""
    if len(text) == 64 and all(character in "0123456789abcdef" for character in text):
        return text
    return key_of(text)


async def _windows(call: ApiRequest, per: Per, subject: str) -> list[dict[str, Any]]:
    limits: Sequence[Limit] = [limit for limit in call.parts.policy.limits() if limit.per is per]
    if not limits:
        return []
    asked = call.parts.rates.peek([Ask(limit, subject) for limit in limits], call.parts.clock.monotonic())
    takes = await asked if isawaitable(asked) else asked
    now = call.parts.clock.now()
    return [
        {
            **_limit(limit),
            "used": limit.limit - take.remaining,
            "remaining": take.remaining,
            "allowed": take.allowed,
            "retry_after": round(take.retry_after, 3),
            "reset": iso(now + take.reset_after),
        }
        for limit, take in zip(limits, takes, strict=True)
    ]


def _limit(limit: Limit) -> dict[str, Any]:
    return {"name": limit.name, "per": limit.per.value, "limit": limit.limit, "window": limit.window}
