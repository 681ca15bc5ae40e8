"""Budgets while Redis is away, when it is back, and when it comes back empty; and over a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sidecar.budget import Budget, BudgetPer, Claim, Held, Unit
from sidecar.clock import SystemClock
from sidecar.secret import Secret
from sidecar.stores.factory import Stores, open_stores
from sidecar.stores.memory_budgets import HELD_UP
from tests.support.exchanges import Recorder
from tests.support.redis import cluster, redis_server

DAY = Budget("day", BudgetPer.ORGANIZATION, Unit.TOKENS, 1000, 86_400.0)
HOUR = Budget("hour", BudgetPer.IP, Unit.TOKENS, 500, 3600.0)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Stores]:
    stores = open_stores(Secret(url), clock=SystemClock(), events=Recorder(), timeout=2.0)
    await stores.start()
    try:
        yield stores
    finally:
        await stores.close()


async def claim(stores: Stores, holder: str, *claims: Claim) -> list[Held]:
    answer = stores.budgets.claim(claims, holder, 30.0, SystemClock().monotonic())
    return list(answer if isinstance(answer, tuple) else await answer)


def used(amount: int, budget: Budget = DAY) -> Claim:
    return Claim(budget, "acme", 0, spend=amount, bound=False)


def asks(amount: int, budget: Budget = DAY) -> Claim:
    return Claim(budget, "acme", amount, amount)


async def until(happens: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happens():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


async def test_each_replica_has_its_share_and_settles_later() -> None:
    with redis_server() as server:
        async with opened(server.url) as one, opened(server.url) as other:
            await until(lambda: (one.replicas(), other.replicas()) == (2, 2))
            await claim(one, "a", used(200))
            server.kill()
            refused = (await claim(one, "b", asks(301)))[0]
            assert (refused.held, refused.left) == (0, 300)
            assert (await claim(one, "b", asks(300)))[0].held == 300, "half of the budget, less what was used here"
            assert (await claim(other, "c", asks(501)))[0].held == 500, "a share is all that it can hold"
            await claim(other, "c", used(450))
            (standing,) = await other.budgets.look([DAY], "acme", SystemClock().monotonic())
            assert (standing.used, standing.held) == (450, 0), "what this replica knows by itself"
            await claim(one, "b", used(100))
            server.start()
            await until(lambda: one.states() == other.states() == {"redis": True})
            # It came back empty: each tells all that it knows.
            await until_left(one, 1000 - 200 - 450 - 100)


async def test_what_was_used_while_redis_did_not_answer_is_settled() -> None:
    with redis_server() as server:
        async with opened(server.url) as stores:
            await claim(stores, "a", used(200))
            stores.use_timeout(0.05)
            server.cli("CLIENT", "PAUSE", "600", "ALL")
            await claim(stores, "b", used(100))
            assert stores.states() == {"redis": False}
            await claim(stores, "b", used(50))
            stores.use_timeout(2.0)
            await until(lambda: stores.states() == {"redis": True})
            # The first of them may have been carried out without an answer: it is counted then, and settled again.
            held = (await claim(stores, "z", asks(1)))[0]
            assert held.left in (1000 - 350 - 1, 1000 - 450 - 1)


async def until_left(stores: Stores, left: int) -> None:
    for _ in range(400):
        (held,) = await claim(stores, "looks", Claim(DAY, "acme", 0, bound=False))
        if held.left == left:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{held.left} are left, not {left}")


async def test_a_cluster_gives_back_what_another_budget_refused() -> None:
    with cluster() as nodes:
        async with opened(f"redis+cluster://127.0.0.1:{nodes[0].port}") as stores:
            await until(lambda: stores.states() == {"redis": True})
            assert [held.held for held in await claim(stores, "a", asks(400), asks(400, HOUR))] == [400, 400]
            refused = await claim(stores, "b", asks(400), asks(400, HOUR))
            assert refused[1] == Held(0, 100, HELD_UP)
            await until_left(stores, 600)
            await claim(stores, "a", used(100), used(100, HOUR))
            await until_left(stores, 900)
