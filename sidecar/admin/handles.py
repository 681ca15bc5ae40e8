"""Handles: phantom keys that a backend uses in place of real ones."""

from __future__ import annotations

from typing import Any, Final

from sidecar.admin.api_request import ApiRequest, ApiResponse, iso
from sidecar.admin.ports import Handles
from sidecar.admin.refusal import invalid, refuse
from sidecar.vault.models import Handle
from sidecar.vocabulary import Code

TTL: Final = 30 * 86400.0
LONGEST: Final = 366 * 86400.0


async def list_all(call: ApiRequest) -> ApiResponse:
    """`GET /api/handles?organization=…`: without the handles themselves; only their hashes are stored."""
    organization = call.scope(call.text("organization"))
    call.organization = organization or ""
    await call.note()
    return ApiResponse({"handles": [_shown(row) for row in await _handles(call).list(organization)]})


async def create(call: ApiRequest) -> ApiResponse:
    """`POST /api/handles` `{"organization", "provider", "name", "seconds"}`: the handle is shown this once."""
    body = await call.body()
    organization = call.grant.organization or body.text("organization", 128)
    if call.grant.organization is not None and body.has("organization"):
        organization = body.text("organization", 128)
    call.within(organization)
    provider = body.text("provider", 64)
    name = body.text("name", 64) if body.has("name") else ""
    seconds = body.optional("seconds", int)
    body.done()
    ttl = TTL if seconds is None else float(seconds)
    if not 1 <= ttl <= LONGEST:
        raise invalid("`seconds` is from 1 to 31622400")
    secret, made = await _handles(call).create(
        call.actor, organization, provider, name=name, expires_at=call.parts.clock.now() + ttl
    )
    call.subject = made.id
    return ApiResponse({**_shown(made), "handle": secret.reveal()}, 201, {"provider": provider})


async def revoke(call: ApiRequest) -> ApiResponse:
    """`DELETE /api/handles/{id}`: it stops working here at once."""
    call.subject = call.names["id"]
    organization = call.grant.organization or await _owner(call)
    call.within(organization)
    row = await _handles(call).revoke(call.actor, organization, call.subject)
    return ApiResponse(_shown(row))


async def _owner(call: ApiRequest) -> str:
    for row in await _handles(call).list(None):
        if row.id == call.subject:
            return row.organization
    raise refuse(Code.NOT_FOUND, "There is no such handle")


def _handles(call: ApiRequest) -> Handles:
    if call.parts.handles is None:
        raise refuse(Code.NOT_FOUND, "This deployment keeps no handles")
    return call.parts.handles


def _shown(row: Handle) -> dict[str, Any]:
    return {
        "id": row.id,
        "organization": row.organization,
        "provider": row.provider,
        "name": row.name,
        "created_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at),
    }
