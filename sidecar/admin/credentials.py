"""Credentials of organizations: the vault's keys, which go in and never come out."""

from __future__ import annotations

from typing import Any, Final

from sidecar.admin.api_request import ApiRequest, ApiResponse, Body, iso
from sidecar.admin.ports import Credentials
from sidecar.admin.refusal import conflict, invalid, refuse
from sidecar.vault.errors import NotFound
from sidecar.vault.models import DEFAULT_NAME, Change, CredentialSummary
from sidecar.vocabulary import Code

NO_EXPIRY: Final = 0.0


async def list_all(call: ApiRequest) -> ApiResponse:
    """`GET /api/api-credentials?organization=…`: fingerprints and last four characters, never more."""
    organization = call.scope(call.text("organization"))
    call.organization = organization or ""
    await call.note()
    return ApiResponse({"credentials": [_shown(row) for row in await _vault(call).list(organization)]})


async def create(call: ApiRequest) -> ApiResponse:
    """`POST /api/api-credentials`: seal and store a key."""
    body = await call.body()
    organization = _organization(call, body)
    provider, value = body.text("provider", 64), body.secret("value")
    name = body.text("name", 64) if body.has("name") else DEFAULT_NAME
    hosts, expires = body.texts("hosts"), body.moment("expires_at")
    body.done()
    made = await _vault(call).create(
        call.actor, organization, provider, value, name=name, hosts=hosts, expires_at=expires
    )
    return _done(call, made, 201)


async def update(call: ApiRequest) -> ApiResponse:
    """`PUT /api/api-credentials/{id}`: change name, hosts, expiry (null: for good) or value."""
    body = await call.body()
    organization = await _owner(call)
    # null: never expires; without the key the expiry stays as it is.
    expires = (body.moment("expires_at") or NO_EXPIRY) if body.has("expires_at") else None
    change = Change(
        value=body.secret("value") if body.has("value") else None,
        name=body.text("name", 64) if body.has("name") else None,
        hosts=body.texts("hosts"),
        expires_at=expires,
    )
    body.done()
    if change == Change():
        raise invalid("nothing to change: give `value`, `name`, `hosts` or `expires_at`")
    return _done(call, await _vault(call).update(call.actor, organization, call.subject, change))


async def rotate(call: ApiRequest) -> ApiResponse:
    """`POST /api/api-credentials/{id}/rotate`: the old key works until the new one is live, then not.

    With `"test": true` the provider is asked first, and the old key stays when it does not accept the new one.
    """
    body = await call.body()
    value, expires, tested = body.secret("value"), body.moment("expires_at"), body.optional("test", bool)
    body.done()
    organization = await _owner(call)
    if tested:
        verdict = await _vault(call).test_stored(call.actor, organization, call.subject, value=value)
        if not verdict.valid:
            raise conflict(f"{verdict.message}; the old key stays")
    return _done(call, await _vault(call).rotate(call.actor, organization, call.subject, value, expires_at=expires))


async def delete(call: ApiRequest) -> ApiResponse:
    """`DELETE /api/api-credentials/{id}`: it stops working here at once."""
    organization = await _owner(call)
    return _done(call, await _vault(call).delete(call.actor, organization, call.subject))


async def test(call: ApiRequest) -> ApiResponse:
    """`POST /api/api-credentials/test`: ask the provider about a key, storing nothing; or about a stored one."""
    body = await call.body()
    if body.has("id"):
        credential = body.text("id", 64)
        body.done()
        organization = await _owner(call, credential)
        verdict = await _vault(call).test_stored(call.actor, organization, credential)
    else:
        organization = _organization(call, body)
        provider, value, hosts = body.text("provider", 64), body.secret("value"), body.texts("hosts")
        body.done()
        call.subject = provider
        verdict = await _vault(call).test(call.actor, organization, provider, value, hosts=hosts)
    shown = {"valid": verdict.valid, "status": verdict.status, "message": verdict.message}
    return ApiResponse(shown, facts={"valid": int(verdict.valid), "status": verdict.status})


async def providers(call: ApiRequest) -> ApiResponse:
    """`GET /api/providers`: whose keys can be stored, and the hosts that they go to unless others are named."""
    return ApiResponse({"providers": list(call.parts.providers())})


def _vault(call: ApiRequest) -> Credentials:
    if call.parts.credentials is None:
        raise refuse(Code.NOT_FOUND, "This deployment keeps no credentials")
    return call.parts.credentials


def _organization(call: ApiRequest, body: Body) -> str:
    """Return the credential's organization: the body's, else the caller's own."""
    if body.has("organization"):
        return call.within(body.text("organization", 128))
    if call.grant.organization is None:
        raise invalid("`organization` is missing: the token is for all of them")
    return call.within(call.grant.organization)


async def _owner(call: ApiRequest, credential: str = "") -> str:
    """Return the organization of a stored credential. One of another organization is not found."""
    call.subject = credential or call.names["id"]
    if call.grant.organization is not None:
        call.organization = call.grant.organization
    else:
        try:
            call.organization = (await _vault(call).find(call.subject)).organization
        except NotFound as error:
            raise refuse(Code.NOT_FOUND, str(error)) from None
    return call.organization


def _done(call: ApiRequest, row: CredentialSummary, status: int = 200) -> ApiResponse:
    call.subject, call.organization = row.id, row.organization
    return ApiResponse(_shown(row), status, {"provider": row.provider, "name": row.name})


def _shown(row: CredentialSummary) -> dict[str, Any]:
    return {
        "id": row.id,
        "organization": row.organization,
        "provider": row.provider,
        "name": row.name,
        "state": row.state.value,
        "fingerprint": row.fingerprint,
        "last_four": row.last_four,
        "hosts": list(row.hosts),
        "expires_at": iso(row.expires_at),
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
        "rotated_at": iso(row.rotated_at),
        "version": row.version,
    }
