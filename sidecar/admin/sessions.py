"""Sessions: how many there are, finding one, and ending one or all of an organization."""

from __future__ import annotations

import re
from typing import Any, Final

from sidecar.admin.api_request import ApiRequest, ApiResponse, iso
from sidecar.admin.limits import session_key
from sidecar.admin.refusal import conflict, invalid, refuse
from sidecar.session import seal_of
from sidecar.stores.interfaces import SessionFacts, SessionStore
from sidecar.vocabulary import Code

MAX_ID: Final = 4096
COUNTED: Final = 100
"""Organizations that a count names."""
FOUND: Final = 20
ENDED_AT_ONCE: Final = 500
_SHORT: Final = re.compile(r"[0-9a-f]{8}")


async def count(call: ApiRequest) -> ApiResponse:
    """`GET /api/sessions?organization=…`: how many there are, and of which organizations: the 100 with the most."""
    organization = call.scope(call.text("organization"))
    store, now = _store(call), call.parts.clock.now()
    counts = await store.counts(organization, now, COUNTED)
    total = await store.count(now) if organization is None else counts[organization]
    return ApiResponse({"count": total, "organizations": dict(counts)})


async def find(call: ApiRequest) -> ApiResponse:
    """`POST /api/sessions/find` `{"session": …}`: by the 8 characters that logs show, by its key, or by its id.

    An id is a secret of its browser: it is in the body of the call, and in no URL, log or answer.
    """
    body = await call.body()
    text = body.text("session", MAX_ID)
    body.done()
    found, complete = await _found(call, text)
    return ApiResponse({"sessions": [_shown(each) for each in found], "complete": complete})


async def end(call: ApiRequest) -> ApiResponse:
    """`POST /api/sessions/end` `{"session": …}` or `{"organization": …}`: end them, and what runs for them.

    Of an organization up to 500 at once; `more` says that there are others: call again.
    """
    body = await call.body()
    text = body.text("session", MAX_ID) if body.has("session") else None
    organization = body.text("organization", 128) if body.has("organization") else None
    body.done()
    if organization is not None and text is None:
        return await _end_all(call, call.within(organization))
    if text is None or organization is not None:
        raise invalid("give `session` or `organization`")
    found, _ = await _found(call, text)
    if not found:
        raise refuse(Code.NOT_FOUND, "There is no such session")
    if len(found) > 1:
        raise conflict("More than one session begins with these characters: give its whole key")
    handles = await _end(call, found[0].organization, list(found))
    return ApiResponse({"ended": 1, "more": False, "handles_revoked": handles, "session": found[0].key[:8]})


async def _end_all(call: ApiRequest, organization: str) -> ApiResponse:
    call.subject = f"organization:{organization}"
    found = await _store(call).some(organization, call.parts.clock.now(), ENDED_AT_ONCE)
    handles = await _end(call, organization, list(found.sessions))
    shown = {"ended": len(found.sessions), "more": not found.complete, "handles_revoked": handles}
    return ApiResponse(shown, facts={"sessions": len(found.sessions)})


async def _end(call: ApiRequest, organization: str, sessions: list[SessionFacts]) -> bool:
    """End sessions; return whether the handles that were made for them are refused too."""
    await call.note()
    ended: list[str] = []
    try:
        for session in sessions:
            await _store(call).delete(session.key, session.organization)
            ended.append(session.key)
    finally:
        # What runs for those that have ended must not go on because the store went away after them.
        refused = await call.parts.end_sessions(call.actor, organization, ended)
    return refused


async def _found(call: ApiRequest, text: str) -> tuple[tuple[SessionFacts, ...], bool]:
    """Return the sessions that a text names, and whether all were looked at."""
    store, now = _store(call), call.parts.clock.now()
    organization = call.grant.organization
    key = text if _SHORT.fullmatch(text) else session_key(text)
    call.subject = f"session:{key[:8]}"
    call.organization = organization or ""
    found = await store.search(key, organization, now, FOUND)
    sessions = found.sessions
    if sessions and key != text:
        # The id opens what a shared store keeps sealed.
        opened = await store.get(key, seal_of(text), now)
        if opened is not None and organization in (None, opened.organization):
            facts = sessions[0]
            sessions = (SessionFacts(key, opened.organization, facts.seen, facts.until, opened.client),)
    if organization is None and len(sessions) == 1:
        call.organization = sessions[0].organization
    return sessions, found.complete


def _store(call: ApiRequest) -> SessionStore:
    if call.parts.sessions is None:
        raise refuse(Code.NOT_FOUND, "This deployment keeps no sessions")
    return call.parts.sessions


def _shown(session: SessionFacts) -> dict[str, Any]:
    return {
        "session": session.key[:8],
        "key": session.key,
        "organization": session.organization or None,
        "client": session.client or None,
        "seen": iso(session.seen),
        "until": iso(session.until),
    }
