"""The audit log, read: newest entries first."""

from __future__ import annotations

import json
from typing import Any

from sidecar.admin.api_request import MAX_PAGE, ApiRequest, ApiResponse, iso
from sidecar.admin.refusal import invalid, refuse
from sidecar.errors import ConfigError
from sidecar.vocabulary import Code


async def recent(call: ApiRequest) -> ApiResponse:
    """`GET /api/audit?limit=100&before=SEQ&organization=…`."""
    if call.parts.audit is None:
        raise refuse(Code.NOT_FOUND, "This deployment keeps no audit log")
    organization = call.scope(call.text("organization"))
    limit = call.number("limit", 100, 1, MAX_PAGE)
    before = call.number("before", 0, 0, 2**53) or None
    call.organization = organization or ""
    await call.note()
    rows = await call.parts.audit.recent(organization, limit=limit, before=before)
    return ApiResponse({"entries": [_shown(row) for row in rows]})


async def verify(call: ApiRequest) -> ApiResponse:
    """`GET /api/audit/verify?anchor=…`: what is proven of the log; the statements of `sidecar audit verify --json`.

    It reads the whole log, so one verification runs at a time.
    """
    call.needs_all()
    if call.parts.verify_audit is None:
        raise refuse(Code.NOT_FOUND, "This deployment keeps no audit log")
    await call.note()
    try:
        verdict = await call.parts.verify_audit(call.request.query.getall("anchor", []))
    except ConfigError as error:
        raise invalid(str(error)) from None
    if verdict is None:
        raise refuse(Code.OVERLOADED, "Another verification runs: ask again when it has ended")
    return ApiResponse(verdict, facts={"whole": int(verdict["whole"]), "entries": verdict["entries"]})


def _shown(row: Any) -> dict[str, Any]:
    detail = row["detail"]
    return {
        "seq": row["seq"],
        "at": iso(row["at"] / 1000),
        "actor": row["actor"],
        "address": row["address"],
        "request_id": row["request_id"],
        "organization": row["organization"],
        "action": row["action"],
        "outcome": row["outcome"],
        "subject": row["subject"],
        "detail": json.loads(detail) if isinstance(detail, str) else detail,
        "hash": row["hash"],
    }
