"""Builds the budgets of each route, and of the calls of the egress listener."""

from __future__ import annotations

from sidecar.budget import Budget, BudgetPer, Counted, OnEnd
from sidecar.guard import BodyStep, Enforced, Step
from sidecar.guards.budgets.budget_guard import BudgetGuard, Holder
from sidecar.policy.schema.budgets import BudgetSection
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route
from sidecar.prices import Price, PriceTable
from sidecar.services import Services

ON_EGRESS = frozenset({BudgetPer.ORGANIZATION, BudgetPer.SESSION, BudgetPer.CREDENTIAL})
"""Subjects that are known of a provider call: its handle names no user and no address."""

UNCOUNTED = frozenset({
    "openai-image", "openai-audio", "openai-threads", "openai-realtime", "anthropic-batches", "open-webui-api",
    "open-webui-notes", "open-webui-stored", "chainlit", "chainlit-api", "gradio", "streamlit", "bokeh", "shiny",
    "nicegui", "mcp", "a2a",
})  # fmt: skip
"""Protocols whose requests ask no model, or whose answers come over another connection or much later."""


class Budgets:
    """The budgets of one policy."""

    def __init__(self, schema: PolicySchema, services: Services) -> None:
        self._schema = schema
        self._services = services
        self._all = tuple(budget_of(section) for section in schema.budgets)
        self.prices = price_table(schema)

    def for_route(self, route: Route | None, enforced: Enforced) -> BodyStep | None:
        """Return what holds a route's requests to the budgets; None where nothing is counted."""
        if route is None or not self._all or not is_metered(self._schema, route):
            return None
        credential = route.credential
        holder = Holder(credential.provider, credential.name or "") if credential is not None else Holder()
        budgets = tuple(each for each in self._all if credential is not None or each.per is not BudgetPer.CREDENTIAL)
        if not budgets:
            return None
        enforce = enforced(BudgetGuard.name)
        return BodyStep(self._guard(budgets, holder, enforce=enforce), enforce)

    def for_calls(self, provider: str, credential: str, *, enforce: bool) -> tuple[Step, BodyStep] | None:
        """Return what holds the calls of one provider: for bodies that stream, and for those that are read."""
        budgets = tuple(each for each in self._all if each.per in ON_EGRESS)
        if not budgets:
            return None
        guard = self._guard(budgets, Holder(provider, credential), enforce=enforce)
        return Step(guard, enforce), BodyStep(guard, enforce)

    def _guard(self, budgets: tuple[Budget, ...], holder: Holder, *, enforce: bool) -> BudgetGuard:
        return BudgetGuard(budgets, self._services.budgets, self.prices, holder, enforce=enforce)


def is_metered(schema: PolicySchema, route: Route) -> bool:
    """Return whether a public route's requests are counted.

    Those into which a key goes are, and those with a message whose backend calls its model by itself. What a
    backend sends through the egress listener is counted there, once.
    """
    if route.protocol in UNCOUNTED:
        return False
    if route.credential is not None and route.credential.form == "header":
        return True
    return route.message is not None and schema.listen.egress is None


def price_table(schema: PolicySchema) -> PriceTable:
    """Return the prices that hold under a policy."""
    return PriceTable(
        {name: Price(each.input, each.output, each.cached, each.written) for name, each in schema.prices.items()}
    )


def budget_of(section: BudgetSection) -> Budget:
    """Return a budget as guards and stores know it."""
    limit = section.limit
    return Budget(
        section.name,
        BudgetPer(section.per),
        limit.unit,
        limit.value,
        section.window,
        Counted(section.counts),
        OnEnd(section.on_end),
        section.header,
    )


def build(schema: PolicySchema, services: Services) -> Budgets:
    """Build the budgets of a policy."""
    return Budgets(schema, services)
