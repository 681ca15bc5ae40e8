"""Budgets in this process: what was used in each window, and what running requests hold.

A window is cut into 60 sub-buckets, as those of rate limits are (`sliding_window.py`): an amount counts from
its own sub-bucket until 60 later ones are over, so no window ever holds more than its limit.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from sidecar.budget import Budget, Claim, Held, Helds, Standing
from sidecar.stores.sliding_window import BUCKETS, SPAN

CELLS: Final = 1024
"""Accounts of one budget that are shared by the subjects for whom the table had no room."""

MICRO: Final = 1_000_000
HELD_UP: Final = 2.0
"""Seconds after which a request may try again that only the holds of running requests kept out."""


def width_of(window: float) -> int:
    """Return a sub-bucket's length in microseconds, rounded up; whole, so that every store cuts time alike."""
    return math.ceil(window * MICRO / BUCKETS)


def bucket_of(window: float, now: float) -> int:
    """Return the number of the sub-bucket of a moment."""
    return int(now * MICRO) // width_of(window)


class Account:
    """What one subject has used, by sub-bucket, oldest first; and what its running requests hold."""

    __slots__ = ("held", "holds", "spent", "used")

    def __init__(self) -> None:
        self.used: deque[tuple[int, int]] = deque()  # (sub-bucket, amount)
        self.spent = 0
        self.holds: OrderedDict[str, tuple[int, float]] = OrderedDict()  # who → (amount, until), the oldest first
        self.held = 0

    def expire(self, current: int, now: float) -> None:
        """Forget amounts that no longer count in sub-bucket `current`, and holds that were not renewed."""
        used = self.used
        while used and used[0][0] < current - BUCKETS:
            self.spent -= used.popleft()[1]
        while self.holds:
            holder, (amount, until) = next(iter(self.holds.items()))
            if until > now:
                break
            del self.holds[holder]
            self.held -= amount

    def spend(self, amount: int, current: int) -> None:
        """Count an amount now; a negative one takes back what was counted too high."""
        if not amount:
            return
        if amount < 0:
            self._take_back(-amount)
            return
        self.spent += amount
        if self.used and self.used[-1][0] >= current:
            bucket, before = self.used[-1]
            self.used[-1] = (bucket, before + amount)
        else:
            self.used.append((current, amount))

    def _take_back(self, amount: int) -> None:
        while amount and self.used:
            bucket, before = self.used.pop()
            back = min(amount, before)
            amount -= back
            self.spent -= back
            if before > back:
                self.used.append((bucket, before - back))

    def hold(self, holder: str, amount: int, until: float) -> None:
        """Keep an amount for a request, in place of what was kept for it."""
        before, _ = self.holds.pop(holder, (0, 0.0))
        self.held += amount - before
        if amount:
            self.holds[holder] = (amount, until)

    def holding(self, holder: str) -> int:
        """Return what is kept for a request."""
        return self.holds[holder][0] if holder in self.holds else 0

    def frees(self, excess: int) -> int:
        """Return the sub-bucket with whose end that much is no longer counted."""
        for bucket, amount in self.used:
            excess -= amount
            if excess <= 0:
                return bucket
        return self.used[-1][0] if self.used else 0


class MemoryBudgets:
    """A BudgetStore that answers at once, from at most `max_subjects` accounts (and 1024 shared ones a budget).

    A subject without room is counted in one of its budget's shared accounts: it may be refused because of others
    there, and never gets more than its budget.
    """

    def __init__(self, max_subjects: int = 100_000) -> None:
        self._room = max_subjects
        self._tables: dict[tuple[str, str, float], dict[str | int, Account]] = {}
        self._named: dict[tuple[str, str, float], Budget] = {}

    def __len__(self) -> int:
        """Return how many accounts are held."""
        return sum(len(table) for table in self._tables.values())

    def claim(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds:
        """Count what a request has used, and keep what it asks for: all of its claims, or none."""
        found = []
        fits = True
        for claim in claims:
            budget = claim.budget
            current = bucket_of(budget.window, now)
            account = self._account(budget, claim.subject)
            account.expire(current, now)
            before = account.holding(holder)
            account.spend(claim.spend, current)
            room = budget.limit - account.spent - account.held + before
            given = claim.hold if not claim.bound else min(claim.hold, room)
            if claim.bound and given < claim.least:
                fits = False
            found.append((claim, account, current, before, room, max(0, given)))
        answers = []
        for claim, account, current, before, room, given in found:
            kept = given if fits else min(given, max(0, before - claim.spend))
            account.hold(holder, kept if ttl > 0 else 0, now + ttl)
            retry = 0.0
            if not fits and claim.bound and room < claim.least:
                retry = _retry(claim, account, current, now)
            answers.append(Held(kept, claim.budget.limit - account.spent - account.held, retry))
        return tuple(answers)

    def owed(self, now: float) -> list[tuple[Budget, str, int]]:
        """Return what every subject has used in its window, for a store that has lost it."""
        found = []
        for (name, unit, window), table in self._tables.items():
            for subject, account in table.items():
                account.expire(bucket_of(window, now), now)
                if account.spent and isinstance(subject, str):
                    found.append((self._named[name, unit, window], subject, account.spent))
        return found

    async def look(self, budgets: Sequence[Budget], subject: str, now: float) -> list[Standing]:
        """Return how each budget stands for one subject; one without an account of its own: as its shared one."""
        return [self._look(budget, subject, now) for budget in budgets]

    def _look(self, budget: Budget, subject: str, now: float) -> Standing:
        table = self._tables.get((budget.name, budget.unit, budget.window), {})
        account = table.get(subject) or table.get(hash(subject) % CELLS)
        if account is None:
            return Standing(0, 0, 0.0)
        account.expire(bucket_of(budget.window, now), now)
        if not account.used:
            return Standing(0, account.held, 0.0)
        ends = (account.used[-1][0] + SPAN) * width_of(budget.window)
        return Standing(account.spent, account.held, max(0, ends - int(now * MICRO)) / MICRO)

    async def forget(self, budgets: Sequence[Budget], subject: str) -> int:
        """Forget what one subject has used; a shared account, which others count on, stays."""
        tables = [self._tables.get((each.name, each.unit, each.window), {}) for each in budgets]
        return sum([table.pop(subject, None) is not None for table in tables])

    def cleanup(self, now: float, most: int = 1000) -> None:
        """Drop accounts that hold nothing any more, up to `most` of each budget are looked at."""
        for key, table in list(self._tables.items()):
            current = bucket_of(key[2], now)
            for subject in list(islice(table, most)):
                account = table.pop(subject)
                account.expire(current, now)
                if account.spent or account.held:
                    table[subject] = account  # behind those that were not looked at
            if not table:
                del self._tables[key], self._named[key]

    def _account(self, budget: Budget, subject: str) -> Account:
        key = (budget.name, budget.unit, budget.window)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = {}
        self._named[key] = budget
        account = table.get(subject)
        if account is None:
            cell = hash(subject) % CELLS
            if len(self) < self._room:
                account = table[subject] = _copy(table.get(cell))
            else:
                account = table.get(cell)
                if account is None:
                    account = table[cell] = Account()
        return account


def _copy(shared: Account | None) -> Account:
    """Return an account that has used what a shared one has: its subject may have been counted there."""
    account = Account()
    if shared is not None:
        account.used = shared.used.copy()
        account.spent = shared.spent
    return account


def _retry(claim: Claim, account: Account, current: int, now: float) -> float:
    excess = account.spent + claim.least - claim.budget.limit
    if excess <= 0:
        return HELD_UP
    bucket = account.frees(excess) if account.used else current
    return max(1, (bucket + SPAN) * width_of(claim.budget.window) - int(now * MICRO)) / MICRO
