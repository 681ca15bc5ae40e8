"""A budget of tokens or money, what a request asks of it, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from sidecar.prices import NANO


class Unit(StrEnum):
    """What a budget is counted in. Money is counted in nano-dollars (`prices.NANO` to the dollar)."""

    TOKENS = "tokens"
    USD = "USD"


class BudgetPer(StrEnum):
    """What each budget belongs to. `credential`: each stored key of an organization."""

    ORGANIZATION = "organization"
    SESSION = "session"
    USER = "user"
    IP = "ip"
    CREDENTIAL = "credential"


class Counted(StrEnum):
    """Which tokens a budget counts."""

    INPUT = "input"
    OUTPUT = "output"
    TOTAL = "total"


class OnEnd(StrEnum):
    """What happens when a budget is used up.

    stop    new requests are refused, and streams that run end
    finish  new requests are refused, and streams that run go on to their end
    warn    it is recorded, and nothing else
    """

    STOP = "stop"
    FINISH = "finish"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of tokens, or of nano-dollars."""

    unit: Unit
    value: int

    def __str__(self) -> str:
        return said(self.unit, self.value)


def said(unit: Unit, value: int) -> str:
    """Return an amount for people: `151200 tokens`, `4.183250 USD`."""
    if unit is Unit.TOKENS:
        return f"{value} tokens"
    return f"{value / NANO:.6f} USD"


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `limit` tokens or nano-dollars in any `window` seconds, for each subject.

    shown  the response says what is left of it
    """

    name: str
    per: BudgetPer
    unit: Unit
    limit: int
    window: float
    counts: Counted = Counted.TOTAL
    on_end: OnEnd = OnEnd.STOP
    shown: bool = False


class Claim(NamedTuple):
    """What one request asks of one budget, in the budget's unit.

    hold   what is kept for the request from now on, in place of what was kept for it before
    least  the smallest hold that is of use: it gets what is left, from `least` to `hold`
    spend  what it has used since its last claim; negative: its estimate was too high. It counts in any case
    bound  False: the hold is never refused
    """

    budget: Budget
    subject: str
    hold: int
    least: int = 0
    spend: int = 0
    bound: bool = True


class Held(NamedTuple):
    """The answer to one claim.

    held         what is kept for the request now
    left         what other requests could still claim; negative when more than the limit is used
    retry_after  seconds until `least` would fit; 0 when it did
    """

    held: int
    left: int
    retry_after: float


class Standing(NamedTuple):
    """How one budget stands for one subject, in the budget's unit.

    used         what counts in its window now
    held         what is kept for running requests
    reset_after  seconds until nothing counts any more, when nothing more is used; 0 when nothing counts
    """

    used: int
    held: int
    reset_after: float


Helds: TypeAlias = tuple[Held, ...]
"""Answers in the order of the claims. When one bound claim does not fit, no hold grows."""
