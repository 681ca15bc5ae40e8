"""Budgets: what they are, how they stand for one subject, and emptying them."""

from __future__ import annotations

from typing import Any

from sidecar.admin.api_request import ApiRequest, ApiResponse, iso
from sidecar.admin.limits import MAX_KEY, address, session_subject, shown
from sidecar.admin.refusal import invalid
from sidecar.budget import Budget, BudgetPer, Unit
from sidecar.prices import NANO


async def overview(call: ApiRequest) -> ApiResponse:
    """`GET /api/budgets`: the budgets of the policy; an organization's token also sees how its own stand."""
    shown: dict[str, Any] = {"budgets": [_budget(budget) for budget in call.parts.policy.budgets()]}
    own = call.grant.organization
    if own is not None:
        shown["organization"] = {"key": own, "budgets": await _standings(call, BudgetPer.ORGANIZATION, own)}
    return ApiResponse(shown)


async def status(call: ApiRequest) -> ApiResponse:
    """`GET /api/budgets/{type}/{key}`: what one subject has used of each budget, and when it is free again."""
    per, subject = _subject(call, call.names["type"], call.names["key"])
    return ApiResponse({"type": per.value, "key": subject, "budgets": await _standings(call, per, subject)})


async def reset(call: ApiRequest) -> ApiResponse:
    """`POST /api/budgets/reset` `{"type", "key", "name"}`: forget what one subject has used, of one budget or of all.

    What running requests hold is forgotten too; they count what they use from then on.
    """
    body = await call.body()
    kind, key = body.text("type", 32), body.text("key", MAX_KEY)
    name = body.text("name", 64) if body.has("name") else None
    body.done()
    per, subject = _subject(call, kind, key)
    budgets = [each for each in _of(call, per) if name in (None, each.name)]
    if name is not None and not budgets:
        raise invalid(f"no budget per {per.value} has this name")
    await call.note()
    count = await call.parts.budgets.forget(budgets, subject)
    return ApiResponse({"type": per.value, "key": subject, "reset": count}, facts={"type": per.value, "budgets": count})


def _subject(call: ApiRequest, kind: str, key: str) -> tuple[BudgetPer, str]:
    """Return what the stores count under; Refused when it is none of the caller's business."""
    try:
        per = BudgetPer(kind)
    except ValueError:
        raise invalid(f"`type` is one of {', '.join(BudgetPer)}") from None
    if not key or len(key) > MAX_KEY:
        raise invalid("`key` is missing, or too long")
    if per is BudgetPer.ORGANIZATION:
        call.within(key)
    elif per is BudgetPer.CREDENTIAL:
        organization, slash, rest = key.partition("/")
        if not (organization and slash and rest):
            raise invalid("the key of a credential is ORGANIZATION/PROVIDER or ORGANIZATION/PROVIDER/NAME")
        call.within(organization)
        key = key if "/" in rest else f"{key}/"  # the policy names no credential of the provider
    else:
        call.needs_all()
    if per is BudgetPer.IP:
        key = address(call, key)
    elif per is BudgetPer.SESSION:
        key = session_subject(call, key)
    call.subject = f"{per.value}:{shown(key) if per is BudgetPer.SESSION else key}"
    return per, key


def _of(call: ApiRequest, per: BudgetPer) -> list[Budget]:
    return [budget for budget in call.parts.policy.budgets() if budget.per is per]


async def _standings(call: ApiRequest, per: BudgetPer, subject: str) -> list[dict[str, Any]]:
    budgets = _of(call, per)
    standings = await call.parts.budgets.look(budgets, subject, call.parts.clock.monotonic())
    now = call.parts.clock.now()
    return [
        {
            **_budget(budget),
            "used": _amount(budget, standing.used),
            "reserved": _amount(budget, standing.held),
            "remaining": _amount(budget, max(0, budget.limit - standing.used - standing.held)),
            "reset": iso(now + standing.reset_after),
        }
        for budget, standing in zip(budgets, standings, strict=True)
    ]


def _budget(budget: Budget) -> dict[str, Any]:
    return {
        "name": budget.name,
        "per": budget.per.value,
        "unit": budget.unit.value,
        "limit": _amount(budget, budget.limit),
        "window": budget.window,
        "counts": budget.counts.value,
        "on_end": budget.on_end.value,
    }


def _amount(budget: Budget, value: int) -> float:
    """Return whole tokens, or dollars."""
    return value / NANO if budget.unit is Unit.USD else value
