"""The state of budgets that outlives a policy: holds of running requests, what is left, mean lengths of answers."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import weakref
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from sidecar.budget import Budget, Helds
from sidecar.clock import Clock
from sidecar.stores.interfaces import BudgetStore

LASTS: Final = 30.0
"""Seconds for which a hold lasts unless it is renewed: what a killed replica held is free again after them."""

RENEWED: Final = 10.0
"""Seconds between two renewals of what running requests hold; each counts what they have used meanwhile."""

FIRST_MEAN: Final = 512.0
"""Tokens of an answer, before any has been seen."""
WEIGHT: Final = 0.1
"""Weight of the newest answer in the mean."""
MODELS: Final = 256
STATES: Final = 10_000


class Renewable(Protocol):
    """A running request that holds part of a budget."""

    def renew(self) -> None:
        """Count what was used so far, and keep the rest of the hold for another LASTS seconds."""
        ...


class BudgetLedger:
    """Keeps the holds of this process' running requests alive. One for the process, over its BudgetStore."""

    def __init__(self, store: BudgetStore, clock: Clock) -> None:
        self.store = store
        self._clock = clock
        self._names = (f"{secrets.token_hex(6)}:{number}" for number in itertools.count())
        self._open: weakref.WeakSet[Renewable] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._means: dict[str, float] = {}
        self._states: dict[tuple[str, str, str], tuple[float, float]] = {}

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock.monotonic()

    def holder(self) -> str:
        """Return a name that no other request of any replica holds by."""
        return next(self._names)

    def keep(self, spend: Renewable) -> None:
        """Renew what a request holds for as long as it lives."""
        self._open.add(spend)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RENEWED, self._renew)

    def drop(self, spend: Renewable) -> None:
        """Renew it no more."""
        self._open.discard(spend)

    def wait(self, answer: Awaitable[Helds], then: Callable[[Helds], None]) -> asyncio.Task[None]:
        """Wait for a store's answer beside the request, and hand it to `then`."""
        task = asyncio.get_running_loop().create_task(_awaited(answer, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _renew(self) -> None:
        self._timer = None
        for spend in list(self._open):
            spend.renew()
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(RENEWED, self._renew)

    # --- what is left of budgets ----------------------------------------------------------------

    def stands(self, budget: Budget, organization: str, subject: str, left: int) -> None:
        """Note what is left of a budget, as the store has just said."""
        key = (budget.name, organization, subject)
        if key not in self._states and len(self._states) >= STATES:
            self._states.clear()
        self._states[key] = (max(0.0, left / budget.limit), self.now() + budget.window)

    def ratios(self) -> dict[tuple[str, str], float]:
        """Return which part of each budget is left to an organization: of its subjects, to the one with the least."""
        now = self.now()
        self._states = {key: state for key, state in self._states.items() if state[1] > now}
        least: dict[tuple[str, str], float] = {}
        for (name, organization, _), (ratio, _) in self._states.items():
            least[name, organization] = min(ratio, least.get((name, organization), 1.0))
        return least

    # --- how long answers are -------------------------------------------------------------------

    def mean(self, model: str) -> int:
        """Return how many tokens an answer of a model has, as far as it is known."""
        return int(self._means.get(model, FIRST_MEAN)) + 1

    def learn(self, model: str, made: int) -> None:
        """Take one more complete answer into the mean."""
        if model not in self._means and len(self._means) >= MODELS:
            self._means.clear()
        before = self._means.get(model, FIRST_MEAN)
        self._means[model] = before + (made - before) * WEIGHT


async def _awaited(answer: Awaitable[Helds], then: Callable[[Helds], None]) -> None:
    then(await answer)
