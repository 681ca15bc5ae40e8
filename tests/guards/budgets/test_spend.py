from __future__ import annotations

import pytest

from sidecar.budget import Budget, BudgetPer, Counted, Unit
from sidecar.guards.budgets.spend import ENDLESS, STEP, Share, Spend
from sidecar.prices import Price
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.memory_budgets import MemoryBudgets
from tests.support.clock import FakeClock


def day(limit: int, unit: Unit = Unit.TOKENS, counts: Counted = Counted.TOTAL) -> Budget:
    return Budget("day", BudgetPer.IP, unit, limit, 86_400.0, counts)


def spend(budget: Budget, given: int, made: int, price: Price | None = None, *, ends: bool = True) -> Spend:
    ledger = BudgetLedger(MemoryBudgets(), FakeClock())
    one = Spend(ledger, "acme", [Share(budget, "x", ends)], price)
    helds = one.reserve(given, made)
    assert isinstance(helds, tuple)
    assert one.reserved(helds) is None
    return one


@pytest.mark.parametrize(
    ("budget", "price", "ceiling"),
    [
        pytest.param(day(1000), None, 300, id="tokens"),
        pytest.param(day(1000, counts=Counted.OUTPUT), None, 300, id="output"),
        pytest.param(day(1000, counts=Counted.INPUT), None, ENDLESS, id="input"),
        pytest.param(day(10**9, Unit.USD), Price(1.0, 3.0), 300, id="money"),
        pytest.param(day(10**9, Unit.USD), Price(0.0, 0.0), ENDLESS, id="free-of-charge"),
    ],
)
async def test_how_far_a_stream_may_go(budget: Budget, price: Price | None, ceiling: int) -> None:
    assert spend(budget, 100, 300, price).ceiling == ceiling


async def test_a_stream_asks_for_more_until_nothing_is_left() -> None:
    one = spend(day(1000), 100, 300)
    grants = []
    while one.ended is None:
        one.made = one.ask_at
        one.top_up()
        grants.append(one.ceiling)
    assert grants[0] == 300 - 48 + STEP
    assert one.ceiling == 900, "all of the budget, less the input"
    assert one.made == 900
    one.settle()
    assert one.left == [0]


async def test_the_last_of_the_money() -> None:
    one = spend(day(10**6 + 700, Unit.USD), 0, 300, Price(1.0, 3.0))
    while one.ended is None:
        one.made = one.ask_at
        one.top_up()
    assert one.made == (10**6 + 700) // 3000


async def test_what_the_provider_reports_moves_the_end() -> None:
    one = spend(day(1000), 100, 300)
    one.report(150, 20, 0, 0)
    assert (one.ceiling, one.made) == (250, 20)


async def test_a_stream_that_may_finish_asks_for_nothing() -> None:
    one = spend(day(1000), 100, 300, ends=False)
    assert (one.ceiling, one.ask_at) == (ENDLESS, ENDLESS)
    one.made = 5000
    one.renew()
    assert one.left == [1000 - 5100]
    one.settle()
    one.settle()
    assert one.left == [1000 - 5100]


async def test_cached_input_has_its_price() -> None:
    one = spend(day(10**9, Unit.USD), 1000, 100, Price(2.0, 8.0, cached=0.5, written=2.5))
    one.report(1000, 100, 600, 300)
    assert one.cost() == 100 * 2000 + 600 * 500 + 300 * 2500 + 100 * 8000
