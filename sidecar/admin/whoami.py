"""What the caller's own token allows."""

from __future__ import annotations

from sidecar.admin.api_request import ApiRequest, ApiResponse, iso
from sidecar.admin.roles import EVERY


async def show(call: ApiRequest) -> ApiResponse:
    """`GET /api/whoami`: the token's subject, role, organization (`*`: all) and end."""
    grant = call.grant
    return ApiResponse(
        {
            "actor": grant.actor,
            "role": grant.role.word,
            "organization": EVERY if grant.organization is None else grant.organization,
            "expires": iso(grant.expires),
        }
    )
