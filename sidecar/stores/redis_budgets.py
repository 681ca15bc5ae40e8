"""Budgets that replicas share."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from sidecar.budget import Budget, Claim, Held, Helds, Standing
from sidecar.errors import StoreUnavailable
from sidecar.stores.memory_budgets import HELD_UP, MICRO, width_of
from sidecar.stores.redis_connection import Argument, RedisClient, Script

_ANSWER: Final = 3
PATIENCE: Final = 2.0
"""Seconds that a question of an operator may take."""


class RedisBudgets:
    """A BudgetStore on one Redis: each request's claims are one run of the script.

    Redis' own clock decides; `clock` replaces it in tests. On a Cluster, where the accounts of a request lie on
    several nodes, each claim is a run of its own, and what was kept is given back when another was refused.
    """

    def __init__(self, wire: RedisClient, prefix: str = "sidecar", clock: Callable[[], float] | None = None) -> None:
        self._wire = wire
        self._prefix = prefix
        self._clock = clock
        self._script = Script("now.lua", "budget.lua")
        self._looking = Script("now.lua", "budget_look.lua")

    async def claim(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds:  # noqa: ARG002
        """Count what a request has used, and keep what it asks for. Raises StoreUnavailable."""
        if not self._wire.clustered:
            (answer,) = await self._wire.submit([self._call(claims, holder, ttl)])
            return tuple(_held(answer, number) for number in range(len(claims)))
        answers = await self._wire.submit([self._call([claim], holder, ttl) for claim in claims])
        helds = tuple(_held(answer, 0) for answer in answers)
        if any(held.retry_after for held in helds):
            kept = [
                Claim(claim.budget, claim.subject, 0, bound=False)
                for claim, held in zip(claims, helds, strict=True)
                if not held.retry_after
            ]
            # Without its hold a request that was running stays counted by what it has used.
            self._wire.submit([self._call([claim], holder, ttl) for claim in kept]).add_done_callback(_heeded)
        return helds

    async def look(self, budgets: Sequence[Budget], subject: str, now: float) -> list[Standing]:  # noqa: ARG002
        """Return how each budget stands for one subject. Raises StoreUnavailable."""
        if not budgets:
            return []
        clock = "" if self._clock is None else str(int(self._clock() * MICRO))
        calls = []
        for budget in budgets:  # one run each: on a Cluster their keys are on several nodes
            key = self._account(budget, subject)
            calls.append(self._looking.call([key, f"{key}:holds"], clock, width_of(budget.window)))
        answers = await self._wire.submit(calls, PATIENCE)
        return [Standing(used, held, wait / MICRO) for used, held, wait in answers]

    async def forget(self, budgets: Sequence[Budget], subject: str) -> int:
        """Forget what one subject has used. Raises StoreUnavailable."""
        if not budgets:
            return 0
        keys = [self._account(each, subject) for each in budgets]
        deleted = await self._wire.submit([("DEL", key, f"{key}:holds") for key in keys])
        return sum(count > 0 for count in deleted)

    def _account(self, budget: Budget, subject: str) -> str:
        # In braces: both keys of an account are in one slot of a Cluster.
        return f"{self._prefix}:b:{{{budget.name}:{budget.unit}:{budget.window:g}:{subject}}}"

    def _call(self, claims: Sequence[Claim], holder: str, ttl: float) -> tuple[Any, ...]:
        keys: list[str] = []
        words: list[Argument] = []
        for claim in claims:
            budget = claim.budget
            account = self._account(budget, claim.subject)
            keys += (account, f"{account}:holds")
            words += (budget.limit, width_of(budget.window), claim.hold, claim.least, claim.spend, int(claim.bound))
        now = "" if self._clock is None else str(int(self._clock() * MICRO))
        return self._script.call(keys, now, holder, math.ceil(ttl * 1000), *words)


def _held(answer: Sequence[int], number: int) -> Held:
    held, left, wait = answer[number * _ANSWER : (number + 1) * _ANSWER]
    return Held(held, left, HELD_UP if wait < 0 else wait / MICRO)


def _heeded(done: asyncio.Future[Any]) -> None:
    """What could not be given back ends by itself."""
    if not done.cancelled() and not isinstance(done.exception(), StoreUnavailable | None):
        done.result()
