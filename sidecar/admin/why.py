"""Why a request was refused, and what is known of it, from the recent events and access lines."""

from __future__ import annotations

from typing import Final

from sidecar.admin.api_request import ApiRequest, ApiResponse
from sidecar.admin.refusal import invalid

MOST_EVENTS: Final = 20_000
LONGEST_ID: Final = 128


async def why(call: ApiRequest) -> ApiResponse:
    """`GET /api/why/{id}`: `{"reason": …, "lines": […]}`; no reason is null, and the log lines are those still kept."""
    request_id = call.names["id"]
    if len(request_id) > LONGEST_ID:
        raise invalid(f"a request id has at most {LONGEST_ID} characters")
    organization = call.scope(call.text("organization"))
    lines = call.parts.history.about(request_id, organization)
    return ApiResponse({"reason": call.parts.why(request_id, organization), "lines": list(lines)})
