"""From a request to an endpoint and back: roles, refusals, and the record of both."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import orjson
from aiohttp import web

from sidecar.admin.api_request import ApiRequest, ApiResponse, Endpoint
from sidecar.admin.ports import Ports
from sidecar.admin.refusal import INTERNAL, UNAVAILABLE, Refusal, Refused, conflict, invalid, refuse
from sidecar.admin.routes import Match, Table
from sidecar.errors import StoreUnavailable
from sidecar.events import SecurityEvent
from sidecar.vault.errors import Conflict, NotFound, VaultError
from sidecar.vocabulary import Code, Event, Outcome

_LOG: Final = logging.getLogger(__name__)

_EVENTS: Final = {
    Code.AUTH_FAILED.name: Event.AUTH_FAILED,
    Code.FORBIDDEN.name: Event.AUTH_FAILED,
    Code.CSRF_BLOCKED.name: Event.CSRF_BLOCKED,
    Code.RATE_LIMIT_EXCEEDED.name: Event.RATE_LIMIT_EXCEEDED,
}


class Dispatcher:
    """Answer the calls of the admin API."""

    def __init__(self, parts: Ports) -> None:
        self._parts = parts
        self._table = Table()

    async def answer(self, request: web.BaseRequest, request_id: str, peer: str) -> web.StreamResponse:
        """Return the answer of one call; what goes wrong on the way is a refusal too."""
        call = ApiRequest(self._parts, request, request_id, peer, path=request.rel_url.raw_path)
        try:
            reply, recorded = await self._done(call)
        except Refused as refused:
            await self._refused(call, refused.refusal)
            return refusal_response(refused.refusal, request, request_id)
        if not isinstance(reply, ApiResponse):
            return reply
        if recorded:
            self._record(call, Event.ADMIN_ACTION, Outcome.ALLOWED, reply.status, reply.facts)
        body = orjson.dumps(reply.value, default=_plain, option=orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body, status=reply.status, content_type="application/json")

    async def _done(self, call: ApiRequest) -> tuple[ApiResponse | web.StreamResponse, bool]:
        match = await self._table.find(call.request)
        if match is not None:
            call.names, call.path = match.names, match.path
        _same_site(call.request)
        # Before any answer that would reveal which endpoints exist.
        call.grant = await self._parts.authority.authenticate(call.peer, call.request.headers.get("Authorization"))
        endpoint = _endpoint(match, call.request.method)
        call.action = endpoint.action
        if call.grant.role < endpoint.role:
            raise refuse(Code.FORBIDDEN, f"This takes the role {endpoint.role.word}", reason="role")
        return await _handled(endpoint, call), endpoint.recorded

    async def _refused(self, call: ApiRequest, refusal: Refusal) -> None:
        outcome = Outcome.FAILED if refusal.status >= 500 else Outcome.REFUSED
        facts = {**refusal.detail, "code": refusal.code}
        self._record(call, _EVENTS.get(refusal.code, Event.ADMIN_ACTION), outcome, refusal.status, facts)
        journal = self._parts.journal
        if journal is None or call.audited or refusal.code == Code.RATE_LIMIT_EXCEEDED.name:
            return  # a flood of guesses does not fill the audit log
        if refusal is UNAVAILABLE:
            return  # the log is where what did not answer is: asking again would double the wait
        # The answer is a refusal already, and the event log has it: an audit log that is away changes neither.
        with suppress(StoreUnavailable):
            await journal.record(call.actor, call.action, outcome.value, call.organization, call.subject, facts)

    def _record(
        self, call: ApiRequest, event: Event, outcome: Outcome, status: int, facts: Mapping[str, str | int]
    ) -> None:
        detail: dict[str, str | int] = {"action": call.action, "actor": call.grant.actor, "role": call.grant.role.word}
        if call.subject:
            detail["subject"] = call.subject
        self._parts.events.record(
            SecurityEvent(
                event,
                outcome,
                self._parts.clock.now(),
                request_id=call.request_id,
                client_ip=call.peer,
                organization=call.organization or call.grant.organization or "",
                method=call.request.method,
                path=call.path,
                status=status,
                detail={**detail, **facts},
            )
        )


def refusal_response(refusal: Refusal, request: web.BaseRequest, request_id: str) -> web.Response:
    """Return a refusal as a response."""
    body, media_type = refusal.body(request_id, request.headers.get("Accept", ""))
    return web.Response(body=body, status=refusal.status, headers=dict(refusal.headers), content_type=media_type)


def _endpoint(match: Match | None, method: str) -> Endpoint:
    if match is None:
        raise refuse(Code.NOT_FOUND)
    endpoint = match.endpoints.get(method)
    if endpoint is None:
        raise refuse(Code.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(sorted(match.endpoints))})
    return endpoint


async def _handled(endpoint: Endpoint, call: ApiRequest) -> ApiResponse | web.StreamResponse:
    """Let the endpoint do it; what the parts raise ends here, as a refusal."""
    try:
        return await endpoint.handler(call)
    except StoreUnavailable:
        raise Refused(UNAVAILABLE) from None
    except VaultError as error:
        call.audited = call.request.method != "GET"  # what it refuses to do, not what it cannot find for a list
        raise _translated(error) from None
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001  the one place where an unexpected exception becomes a 500
        # Only its type: the text of an unexpected exception may contain anything.
        _LOG.error("admin: %s failed: %s", endpoint.action, type(error).__name__)
        raise Refused(INTERNAL) from None


def _translated(error: VaultError) -> Refused:
    """Pass the vault's message on: it is written for operators and contains no secret."""
    if isinstance(error, NotFound):
        return refuse(Code.NOT_FOUND, str(error))
    return conflict(str(error)) if isinstance(error, Conflict) else invalid(str(error))


def _same_site(request: web.BaseRequest) -> None:
    """Refuse what a page of another site sends: nothing of ours is there for it (Fetch Metadata)."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise refuse(Code.CSRF_BLOCKED)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)
