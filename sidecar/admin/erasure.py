"""Erasure: deleting what is stored about a session, an address or an organization."""

from __future__ import annotations

from sidecar.admin.api_request import ApiRequest, ApiResponse
from sidecar.admin.limits import address, session_key
from sidecar.admin.refusal import invalid
from sidecar.events import SecurityEvent
from sidecar.limit import Per
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.vocabulary import Event, Outcome

MAX_SUBJECT = 512


async def erase(call: ApiRequest) -> ApiResponse:
    """`DELETE /api/subjects/{type}/{id}`: say what was deleted. The audit log stays: its chain needs it."""
    kind, name = call.names["type"], call.names["id"]
    if not name or len(name) > MAX_SUBJECT:
        raise invalid("the subject is missing, or too long")
    if kind == "organization":
        call.within(name)
    else:
        call.needs_all()
    if kind == "session":
        name = session_key(name)
    elif kind == "ip":
        name = address(call, name)
    elif kind != "organization":
        raise invalid("a subject is a session, an ip or an organization")
    call.subject = f"{kind}:{name[:8] if kind == 'session' else name}"
    await call.note()
    erased = await _erase(call, kind, name)
    call.parts.revoke(Revoked(SubjectKind(kind), name, Cause.ERASED))
    _tell(call, kind, erased)
    return ApiResponse({"type": kind, "erased": erased}, facts={"type": kind, **erased})


async def _erase(call: ApiRequest, kind: str, name: str) -> dict[str, int]:
    """Delete in every part; one that fails stops here, and calling again goes on from there."""
    parts = call.parts
    erased = {"windows": await _windows(call, kind, name)}
    if parts.sessions is not None:
        found = await parts.sessions.erase(kind, name)
        erased |= {"sessions": found.sessions, "conversations": found.conversations}
    if kind == "ip":
        erased["bans"] = int(await parts.bans.lift(name))
    if kind == "organization" and parts.credentials is not None:
        erased |= await parts.credentials.erase(call.actor, name)
    if kind == "organization":
        erased["costs"] = await parts.costs.forget(name)
    if kind == "organization" and parts.usage is not None:
        await parts.usage.forget(name)
    parts.history.forget(kind, name)
    erased["events"] = parts.recent.forget(kind, name)
    return erased


async def _windows(call: ApiRequest, kind: str, name: str) -> int:
    """Forget what was counted, also under an address in place of a session or a user that was missing."""
    rates = call.parts.rates
    count = await rates.reset(kind, name) + await _used(call, kind, name)
    if kind == "ip":
        for per in (Per.SESSION, Per.USER):
            count += await rates.reset(per.value, f"ip:{name}") + await _used(call, per.value, f"ip:{name}")
    return count


async def _used(call: ApiRequest, per: str, subject: str) -> int:
    """Forget what one subject has used of its budgets."""
    budgets = [budget for budget in call.parts.policy.budgets() if budget.per == per]
    return await call.parts.budgets.forget(budgets, subject)


def _tell(call: ApiRequest, kind: str, erased: dict[str, int]) -> None:
    detail = {"actor": call.grant.actor, "type": kind, **erased}
    at = call.parts.clock.now()
    organization = call.organization
    call.parts.events.record(
        SecurityEvent(Event.DATA_ERASED, Outcome.ALLOWED, at, call.request_id, call.peer, organization, detail=detail)
    )
