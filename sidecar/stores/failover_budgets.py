"""Budgets that go on in memory while the shared store is away, and are merged into it when it is back."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from sidecar.budget import Budget, Claim, Helds, Standing
from sidecar.errors import StoreUnavailable
from sidecar.stores.memory_budgets import MemoryBudgets

DEBT: Final = 100_000
"""Subjects whose debt is remembered; what more subjects use meanwhile is known here alone."""


class BudgetCircuit(Protocol):
    """Whether the shared store may be asked, and how many replicas share it."""

    up: bool
    replicas: int

    def trip(self, error: StoreUnavailable) -> None:
        """Stop asking the store."""
        ...


class SharedBudgets(Protocol):
    """A BudgetStore across the network, which may fail."""

    async def claim(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds:
        """Count and hold as a BudgetStore does. Raises StoreUnavailable."""
        ...

    async def look(self, budgets: Sequence[Budget], subject: str, now: float) -> Sequence[Standing]:
        """Return how budgets stand, as a BudgetStore does. Raises StoreUnavailable."""
        ...

    async def forget(self, budgets: Sequence[Budget], subject: str) -> int:
        """Forget as a BudgetStore does. Raises StoreUnavailable."""
        ...


class FailoverBudgets:
    """Ask the primary while the circuit is closed, memory while it is open.

    `mirror` knows what this replica's requests have used and hold. Alone, a replica lets its requests use up to
    limit ÷ live replicas, what they had used before included. What they use meanwhile is debt, which `settle` pays.
    """

    def __init__(self, primary: SharedBudgets, mirror: MemoryBudgets, circuit: BudgetCircuit) -> None:
        self._primary = primary
        self._mirror = mirror
        self._circuit = circuit
        self._debt: dict[tuple[Budget, str], int] = {}

    def claim(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds | Awaitable[Helds]:
        """Count what a request has used, and keep what it asks for."""
        if not self._circuit.up:
            return self._alone(claims, holder, ttl, now)
        return self._asked(claims, holder, ttl, now)

    async def look(self, budgets: Sequence[Budget], subject: str, now: float) -> Sequence[Standing]:
        """Return how budgets stand; while the shared store is away, what this replica knows."""
        if self._circuit.up:
            try:
                return await self._primary.look(budgets, subject, now)
            except StoreUnavailable as error:
                self._circuit.trip(error)
        return await self._mirror.look(budgets, subject, now)

    async def forget(self, budgets: Sequence[Budget], subject: str) -> int:
        """Forget what one subject has used; while the shared store is away, what is counted here."""
        here = await self._mirror.forget(budgets, subject)
        for budget in budgets:
            self._debt.pop((budget, subject), None)
        if not self._circuit.up:
            return here
        try:
            return max(await self._primary.forget(budgets, subject), here)
        except StoreUnavailable as error:
            self._circuit.trip(error)
            return here

    async def settle(self, now: float, *, lost: bool = False) -> None:
        """Send the primary what was used without it; `lost`: it came back empty, and is sent all that is known.

        Raises StoreUnavailable; what was not sent is sent the next time.
        """
        if lost:
            self._debt = {(budget, subject): spent for budget, subject, spent in self._mirror.owed(now)}
        for (budget, subject), spent in list(self._debt.items()):
            await self._primary.claim([Claim(budget, subject, 0, spend=spent, bound=False)], "", 0.0, now)
            left = self._debt.get((budget, subject), spent) - spent  # more may have been used while this was sent
            if left:
                self._debt[budget, subject] = left
            else:
                self._debt.pop((budget, subject), None)

    def cleanup(self, now: float) -> None:
        """Forget what is over."""
        self._mirror.cleanup(now)

    async def _asked(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds:
        try:
            helds = await self._primary.claim(claims, holder, ttl, now)
        except StoreUnavailable as error:
            self._circuit.trip(error)
            return self._alone(claims, holder, ttl, now)
        # The mirror keeps what the primary has given, whatever it would have said itself.
        given = zip(claims, helds, strict=True)
        self._mirror.claim([claim._replace(hold=held.held, bound=False) for claim, held in given], holder, ttl, now)
        return helds

    def _alone(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds:
        for claim in claims:
            key = (claim.budget, claim.subject)
            if claim.spend and (key in self._debt or len(self._debt) < DEBT):
                self._debt[key] = self._debt.get(key, 0) + claim.spend
        share = max(1, self._circuit.replicas)
        return self._mirror.claim([_shared(claim, share) for claim in claims], holder, ttl, now)


def _shared(claim: Claim, replicas: int) -> Claim:
    """Return a claim on this replica's share of a budget; one that could never fit asks for all of the share."""
    limit = max(1, claim.budget.limit // replicas)
    return claim._replace(
        budget=replace(claim.budget, limit=limit), hold=min(claim.hold, limit), least=min(claim.least, limit)
    )
