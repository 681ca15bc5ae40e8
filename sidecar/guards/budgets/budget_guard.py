"""Refuse requests for which a budget has no room; hold what the others may need."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from sidecar.budget import Budget, BudgetPer, Held, Helds, OnEnd, Unit, said
from sidecar.decision import KEEP, PASS, Decision, Detail, Finding, Inspection, Keep, Pass, Refuse
from sidecar.exchange import Exchange
from sidecar.guards.budgets.request_size import RequestSize, size_of
from sidecar.guards.budgets.spend import Share, Spend
from sidecar.guards.limits.rate_limit import SAFE
from sidecar.guards.origins.build import REMAINING
from sidecar.prices import Price, PriceTable
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.token_estimate import BYTES
from sidecar.vocabulary import Code, Event

ENDED: Final = "The budget is used up"
UNPRICED: Final = "This model has no price"

PATIENT: Final = 60
"""Seconds that clients of providers wait by themselves; beyond them they are told not to."""

ENOUGH: Final = 4096
TIMES: Final = 4
"""A stream that can be ended holds at most so many tokens of output at first, or so many means of its model."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key a route's requests use: the subject of budgets per credential."""

    provider: str = ""
    credential: str = ""


class BudgetGuard:
    """Holds what a request may need of all its budgets at once, and attaches a Spend to the exchange.

    A body guard where bodies are collected, after every guard that may refuse; a head guard where they stream: the
    size of the request is known then, and no more.
    """

    name = "budgets"

    def __init__(
        self, budgets: Sequence[Budget], ledger: BudgetLedger, prices: PriceTable, holder: Holder, *, enforce: bool
    ) -> None:
        self.budgets = tuple(budgets)
        self._ledger = ledger
        self._prices = prices
        self._holder = holder
        self._enforce = enforce
        self._in_money = any(budget.unit is Unit.USD for budget in budgets)
        self._shows = any(budget.shown for budget in budgets)

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Hold what a request may need whose body is not read here."""
        if exchange.head.method in SAFE or exchange.head.method == "DELETE":
            return PASS
        index = exchange.head.index
        length = index.get(b"content-length", b"")
        is_json = index.get(b"content-type", b"").lower().startswith(b"application/json")
        given = int(length) // BYTES if is_json and length.isdigit() else 0
        price = self._prices.dearest if self._in_money else self._prices.otherwise
        return self._claimed(exchange, RequestSize("", given, None), price)

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection | Awaitable[Inspection]:
        """Hold what a request may need; `body` is as it goes to the backend."""
        if exchange.head.method in SAFE or not body:
            return KEEP
        size = size_of(exchange, body)
        price = self._prices.find(size.model)
        if self._in_money and price is None:
            detail: Detail = {"reason": "no price", "model": _label(size.model)}
            return Refuse(Code.FORBIDDEN, detail, event=Event.BUDGET_EXCEEDED, sentence=UNPRICED)
        answer = self._claimed(exchange, size, price)
        if isinstance(answer, Pass | Refuse):
            return _as_inspection(answer)
        return _inspected(answer)

    def _claimed(
        self, exchange: Exchange, size: RequestSize, price: Price | None
    ) -> Pass | Refuse | Awaitable[Pass | Refuse]:
        shares = [
            Share(budget, self._subject(budget, exchange), self._enforce and budget.on_end is OnEnd.STOP)
            for budget in self.budgets
        ]
        spend = Spend(self._ledger, exchange.organization, shares, price)
        spend.model = size.model
        helds = spend.reserve(size.given, self._output_of(size, shares))
        if isinstance(helds, tuple):
            return self._decided(exchange, spend, helds)
        return self._decided_later(exchange, spend, helds)

    def _output_of(self, size: RequestSize, shares: Sequence[Share]) -> int:
        """Return how much output is held before there is any."""
        mean = self._ledger.mean(size.model)
        if size.most is None:
            return mean
        if size.streams and all(share.ends for share in shares):
            # It gets more as it goes, and can be ended. What it names alone must not hold the budget of all others.
            return min(size.most, max(ENOUGH, TIMES * mean))
        return size.most

    async def _decided_later(self, exchange: Exchange, spend: Spend, helds: Awaitable[Helds]) -> Pass | Refuse:
        return self._decided(exchange, spend, await helds)

    def _decided(self, exchange: Exchange, spend: Spend, helds: Helds) -> Pass | Refuse:
        refused = spend.reserved(helds)
        if self._shows:
            exchange.notes[REMAINING] = spend.shown()
        if refused is None or not self._enforce:
            exchange.spend = spend
            exchange.releases.append(_Release(exchange, spend))
        if refused is not None:
            return refusal(*refused)
        if spend.exceeded:
            return Pass(tuple([Finding(Event.BUDGET_EXCEEDED, detail_of(budget)) for budget in spend.exceeded]))
        return PASS

    def _subject(self, budget: Budget, exchange: Exchange) -> str:
        per, client = budget.per, exchange.client.subject
        if per is BudgetPer.ORGANIZATION:
            return exchange.organization
        if per is BudgetPer.SESSION:
            return exchange.session.key if exchange.session is not None else f"ip:{client}"
        if per is BudgetPer.USER:
            return exchange.user or f"ip:{client}"
        if per is BudgetPer.IP:
            return client
        return f"{exchange.organization}/{self._holder.provider}/{self._holder.credential}"


class _Release:
    """Settles what a request has used when it ends, however it ends."""

    __slots__ = ("_exchange", "_spend")

    def __init__(self, exchange: Exchange, spend: Spend) -> None:
        self._exchange: Exchange | None = exchange
        self._spend = spend

    def __call__(self) -> None:
        exchange, self._exchange = self._exchange, None  # no cycle is left for the collector
        if exchange is None:
            return
        if self._spend.answered or exchange.left:
            self._spend.settle()  # a client that leaves does not undo the work that it has asked for
        else:
            self._spend.forget()


def refusal(share: Share, held: Held) -> Refuse:
    """Return the refusal of a request for which a budget has no room."""
    seconds = max(1, ceil(held.retry_after))
    fields = [(b"Retry-After", b"%d" % seconds)]
    if seconds > PATIENT:
        fields.append((b"x-should-retry", b"false"))
    detail: Detail = {**detail_of(share.budget), "retry_after": seconds}
    return Refuse(Code.RATE_LIMIT_EXCEEDED, detail, fields, event=Event.BUDGET_EXCEEDED, sentence=ENDED)


def detail_of(budget: Budget) -> dict[str, str]:
    """Return which budget it is, for the log."""
    return {
        "budget": budget.name,
        "per": str(budget.per),
        "limit": said(budget.unit, budget.limit),
        "on_end": str(budget.on_end),
    }


def _label(model: str) -> str:
    """Return a name that a client chose, if it is a plain short one."""
    return model if _NAME.fullmatch(model) else "other"


async def _inspected(answer: Awaitable[Pass | Refuse]) -> Inspection:
    return _as_inspection(await answer)


def _as_inspection(answer: Pass | Refuse) -> Inspection:
    if isinstance(answer, Refuse):
        return answer
    return Keep(answer.findings) if answer.findings else KEEP
