"""Budgets of tokens and money, and what models cost."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from sidecar.budget import Amount, Unit
from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Read, Section, refuse
from sidecar.policy.schema.quantities import DAY, FLAG, span
from sidecar.prices import NANO

_AMOUNT: Final = r"^(\d+(?:\.\d+)?)([kM]?) ?(tokens|USD)$"
_LARGEST: Final = {Unit.TOKENS: 10**12, Unit.USD: 10**6 * NANO}
_TIMES: Final = {"": 1, "k": 1000, "M": 1_000_000}
_MEANT: Final = re.compile(r"\s*([\d_,.]+)\s*([kKmM]?)\s*(\$|usd|dollars?|tokens?|tok)?\s*", re.IGNORECASE)


def _amount(value: Any) -> Amount:
    found = re.match(_AMOUNT, value) if isinstance(value, str) and len(value) <= 32 else None
    if found is None:
        refuse("is not an amount of tokens or money", f"write {_near(value)}")
    number, times, unit = found[1], found[2], Unit(found[3])
    if unit is Unit.TOKENS and "." in number and not times:
        refuse("is no whole number of tokens", "write a number like 200k tokens")
    if unit is Unit.USD and times:
        refuse("has a letter after its dollars", "write a number like 5000 USD")
    amount = round(float(number) * _TIMES[times] * (NANO if unit is Unit.USD else 1))
    if not 0 < amount <= _LARGEST[unit]:
        most = "1 to 1000000M tokens" if unit is Unit.TOKENS else "more than 0 and at most 1000000 USD"
        refuse(f"is out of range ({value})", f"write {most}")
    return Amount(unit, amount)


def _near(value: Any) -> str:
    """Return what a person may have meant: `5 USD` for `$5`, `200k tokens` for `200000`."""
    found = (
        _MEANT.fullmatch(value.replace("$", "") + (" usd" if "$" in value else "")) if isinstance(value, str) else None
    )
    if found is not None and re.fullmatch(r"\d+(\.\d+)?", found[1]):
        money = (found[3] or "").lower() in {"$", "usd", "dollar", "dollars"}
        letter = "" if money else found[2].replace("K", "k").replace("m", "M")
        return f"{found[1]}{letter} {'USD' if money else 'tokens'}"
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10**12:
        return f"{value} tokens or {value} USD"
    return "an amount like 200k tokens or 5 USD"


AMOUNT: Final = Read(_amount, {"type": "string", "pattern": _AMOUNT, "description": "200k tokens, 5 USD"})


def _dollars(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse("is not a price", "write USD for a million tokens as a number, like 0.15")
    if not 0 <= value <= 100_000:
        refuse("is out of range", "write 0 to 100000, in USD for a million tokens")
    return float(value)


DOLLARS: Final = Read(_dollars, {"type": "number", "minimum": 0, "maximum": 100_000})


class BudgetSection(Section):
    """At most so many tokens, or so much money, in any `window`."""

    name: Annotated[str, strings.NAME] = Field(
        description="unique among budgets; named in log, metrics and headers", examples=["daily"]
    )
    per: Literal["organization", "session", "user", "ip", "credential"] = Field(
        description="who has one; credential: each stored key", examples=["organization"]
    )
    limit: Annotated[Amount, AMOUNT] = Field(
        description="tokens, or money at the prices of `prices`", examples=["200k tokens"]
    )
    window: Annotated[float, span("1m", "31d")] = Field(
        default=DAY, description="in any stretch of time as long as this"
    )
    counts: Literal["input", "output", "total"] = Field(
        default="total", description="which tokens: those sent to the model, those that it made, both"
    )
    on_end: Literal["stop", "finish", "warn"] = Field(
        default="stop",
        description="when it is used up: stop: new requests are refused, and running streams end; finish: running "
        "streams go on; warn: only recorded",
    )
    header: Annotated[bool, FLAG] = Field(
        default=False, description="true: responses say in X-Sidecar-Budget-Remaining what is left of it"
    )


class PriceSection(Section):
    """What a million tokens of a model cost, in USD."""

    input: Annotated[float, DOLLARS] = Field(description="sent to the model", examples=[0.15])
    output: Annotated[float, DOLLARS] = Field(description="made by the model", examples=[0.6])
    cached: Annotated[float, DOLLARS] | None = Field(
        default=None, description="sent, and read from the provider's cache; null: as `input`"
    )
    written: Annotated[float, DOLLARS] | None = Field(
        default=None, description="sent, and written into the provider's cache; null: as `input`"
    )
