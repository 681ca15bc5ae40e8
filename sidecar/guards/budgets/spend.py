"""What one request holds of its budgets, and what it has used: reserved, topped up, settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.budget import Budget, Claim, Counted, Held, Helds, OnEnd, Unit
from sidecar.prices import Price
from sidecar.stores.budget_ledger import LASTS, BudgetLedger

STEP: Final = 256
"""Tokens of output that a running stream asks for when what it holds is nearly used."""

AHEAD: Final = 48
"""Tokens before the end of its hold at which a stream asks: the answer comes before they are used."""

ENDLESS: Final = 1 << 62
_MANY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Share:
    """One budget, with what one request holds and has used of it; `ends`: the request's stream ends with the budget."""

    budget: Budget
    subject: str
    ends: bool


class Spend:
    """One request's course through its budgets.

    given, made      tokens of input and output so far: estimated, until the provider reports them
    cached, written  those of `given` that the provider has read from its cache, and written into it
    ceiling          output up to which a stream may go on
    ask_at           output at which it asks for more, or has to stop or to wait
    ended            the budget that has ended under a stream: it goes on to `ceiling`, and no further
    waiting          the store has been asked for more, and has not answered
    exceeded         budgets that only warn, and have no room for the request
    """

    __slots__ = (
        "__weakref__", "_holder", "_holds", "_ledger", "_organization", "_shares", "_told", "answered", "ask_at",
        "cached", "ceiling", "closed", "ended", "exceeded", "given", "left", "made", "model", "price", "waiting",
        "written",
    )  # fmt: skip

    def __init__(self, ledger: BudgetLedger, organization: str, shares: Sequence[Share], price: Price | None) -> None:
        self._ledger = ledger
        self._organization = organization
        self._shares = tuple(shares)
        self._holder = ledger.holder()
        self._told = [0] * len(self._shares)  # what the store counts as used, of each
        self._holds = [0] * len(self._shares)
        self.left = [0] * len(self._shares)
        self.price = price
        self.model = ""
        self.given = self.made = self.cached = self.written = 0
        self.ceiling = self.ask_at = ENDLESS
        self.ended: Budget | None = None
        self.exceeded: tuple[Budget, ...] = ()
        self.waiting: asyncio.Task[None] | None = None
        self.answered = False  # the backend has begun to answer with success
        self.closed = False

    def reserve(self, given: int, made: int) -> Helds | Awaitable[Helds]:
        """Hold what a request may need: `given` tokens of input and `made` of output."""
        self.given = given
        claims = []
        for share in self._shares:
            # A request that may need more than all of a budget reserves all of it.
            hold = min(self._amount(share.budget, given, made), share.budget.limit)
            claims.append(Claim(share.budget, share.subject, hold, hold, 0, share.budget.on_end is not OnEnd.WARN))
        return self._ledger.store.claim(claims, self._holder, LASTS, self._ledger.now())

    def reserved(self, helds: Helds) -> tuple[Share, Held] | None:
        """Take the store's answer to `reserve`; return what refuses the request for longest, or None."""
        refusing = [pair for pair in zip(self._shares, helds, strict=True) if pair[1].retry_after > 0]
        self._take(helds)
        if refusing:
            return max(refusing, key=lambda pair: pair[1].retry_after)
        self._ledger.keep(self)
        self.exceeded = tuple(
            share.budget
            for share, held in zip(self._shares, helds, strict=True)
            if share.budget.on_end is OnEnd.WARN and held.left < 0
        )
        return None

    def top_up(self) -> None:
        """Count what was used, and hold some more for a stream that goes on; `waiting` is set while it is asked for."""
        claims = []
        for number, share in enumerate(self._shares):
            used = self._used(share.budget)
            hold = self._amount(share.budget, self.given, self.made + STEP) - used
            claims.append(Claim(share.budget, share.subject, hold, min(hold, 1), used - self._told[number], share.ends))
            self._told[number] = used
        self.ask_at = self.ceiling
        answer = self._ledger.store.claim(claims, self._holder, LASTS, self._ledger.now())
        if isinstance(answer, tuple):
            self._topped_up(answer)
        else:
            self.waiting = self._ledger.wait(answer, self._topped_up)

    def _topped_up(self, helds: Helds) -> None:
        self.waiting = None
        if self.closed:
            return
        pairs = zip(self._shares, helds, strict=True)
        self.ended = next((share.budget for share, held in pairs if held.retry_after > 0), None)
        self._take(helds)
        if self.ended is None and self.ceiling <= self.made:
            # What is left is less than a token costs, by a rounding.
            self.ended = min(zip(self._shares, helds, strict=True), key=lambda pair: pair[1].held)[0].budget
            self.ask_at = self.ceiling

    def report(self, given: int, made: int, cached: int, written: int) -> None:
        """Take over what the provider has counted so far."""
        self.given, self.made, self.cached, self.written = given, made, cached, written
        self._raise_ceiling()

    def renew(self) -> None:
        """Count what was used so far, and keep the rest of the hold for another while."""
        if self.waiting is not None or self.closed:
            return
        claims = []
        for number, share in enumerate(self._shares):
            used = self._used(share.budget)
            spend = used - self._told[number]
            self._told[number] = used
            self._holds[number] = max(0, self._holds[number] - max(0, spend))
            claims.append(Claim(share.budget, share.subject, self._holds[number], 0, spend, False))
        self._claim(claims)

    def settle(self) -> None:
        """Count what was used, and give back the rest; once."""
        if self.closed:
            return
        self.closed = True
        self._ledger.drop(self)
        claims = [
            Claim(share.budget, share.subject, 0, 0, self._used(share.budget) - told, False)
            for share, told in zip(self._shares, self._told, strict=True)
        ]
        self._claim(claims)

    def forget(self) -> None:
        """Nothing was used: give back all of it."""
        self.given = self.made = 0
        self.settle()

    def cost(self) -> int:
        """Return what was used, in nano-dollars; 0 without a price."""
        return 0 if self.price is None else self.price.cost(self.given, self.made, self.cached, self.written)

    def _tell(self, helds: Helds) -> None:
        self.left = [held.left for held in helds]
        for share, held in zip(self._shares, helds, strict=True):
            self._ledger.stands(share.budget, self._organization, share.subject, held.left)

    def shown(self) -> str:
        """Return what is left of the budgets that are shown, as a header's value; "" for none."""
        return ", ".join(
            f'"{share.budget.name}";r={_shown(share.budget, left)};u="{share.budget.unit}"'
            for share, left in zip(self._shares, self.left, strict=True)
            if share.budget.shown
        )

    def _claim(self, claims: Sequence[Claim]) -> None:
        answer = self._ledger.store.claim(claims, self._holder, LASTS, self._ledger.now())
        if isinstance(answer, tuple):
            self._tell(answer)
        else:
            self._ledger.wait(answer, self._tell)

    def _take(self, helds: Helds) -> None:
        self._holds = [held.held for held in helds]
        self._tell(helds)
        self._raise_ceiling()

    def _used(self, budget: Budget) -> int:
        return self._amount(budget, self.given, self.made)

    def _amount(self, budget: Budget, given: int, made: int) -> int:
        """Return what tokens are worth in a budget's unit."""
        given = 0 if budget.counts is Counted.OUTPUT else given
        made = 0 if budget.counts is Counted.INPUT else made
        if budget.unit is Unit.TOKENS:
            return given + made
        if self.price is None:
            return 0
        return self.price.cost(given, made, *((self.cached, self.written) if given else (0, 0)))

    def _raise_ceiling(self) -> None:
        """Work out up to which output lasts what is held."""
        ceiling = ENDLESS
        for number, share in enumerate(self._shares):
            budget = share.budget
            if not share.ends or budget.counts is Counted.INPUT:
                continue
            room = self._told[number] + self._holds[number] - self._amount(budget, self.given, 0)
            if budget.unit is Unit.USD:
                # From the price of many tokens: that of one is rounded up.
                many = self.price.cost(0, _MANY) if self.price is not None else 0
                room = room * _MANY // many if many else ENDLESS
            ceiling = min(ceiling, max(0, room))
        self.ceiling = ceiling
        if ceiling == ENDLESS or self.waiting is not None or self.ended is not None:
            self.ask_at = ceiling
        else:
            self.ask_at = min(ceiling, max(self.made + 1, ceiling - AHEAD))


def _shown(budget: Budget, left: int) -> str:
    left = max(0, left)
    return str(left) if budget.unit is Unit.TOKENS else f"{left / 1_000_000_000:.6f}"
