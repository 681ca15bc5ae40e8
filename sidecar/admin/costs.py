"""What models have cost, by organization and day."""

from __future__ import annotations

from typing import Any, Final

from sidecar.admin.api_request import ApiRequest, ApiResponse
from sidecar.prices import NANO
from sidecar.vault.costs import Cost

DAYS: Final = 31
SHOWN: Final = 100
"""Organizations with rows of their own, those that cost most; the others are shown together, as null."""


async def show(call: ApiRequest) -> ApiResponse:
    """`GET /api/costs?days=31&organization=…`: sums by day (in UTC) and organization."""
    organization = call.scope(call.text("organization"))
    call.organization = organization or ""
    days = call.number("days", DAYS, 1, DAYS)
    report = await call.parts.costs.report(days, organization, SHOWN)
    total = Cost()
    for cost in report.costs.values():
        total.add(cost)
    costs = sorted(report.costs.items())
    rows = [{"day": day, "organization": name or None, **_fields(cost)} for (day, name), cost in costs]
    kept = "database" if report.stored else "memory"
    return ApiResponse({"since": report.since, "days": days, "kept": kept, "entries": rows, "total": _fields(total)})


def _fields(cost: Cost) -> dict[str, Any]:
    return {
        "requests": cost.requests,
        "input_tokens": cost.given,
        "output_tokens": cost.made,
        "cost_usd": cost.nano / NANO,
        "unpriced_tokens": cost.unpriced,
    }
