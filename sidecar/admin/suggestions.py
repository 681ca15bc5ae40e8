"""Routes for an unknown backend, from what was observed of it."""

from __future__ import annotations

from sidecar.admin.api_request import ApiRequest, ApiResponse
from sidecar.admin.refusal import refuse
from sidecar.vocabulary import Code


async def show(call: ApiRequest) -> ApiResponse:
    """`GET /api/suggestions`: routes, what they rest on, and the YAML; 404 unless the policy only observes."""
    call.needs_all()
    found = call.parts.suggestions()
    if found is None:
        raise refuse(Code.NOT_FOUND, "Nothing is observed: the policy needs mode: observe, and suggestions: true")
    return ApiResponse(found)
