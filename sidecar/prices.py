"""What models cost: a table of list prices with its date, and how a model's price is found in it.

Money is counted in whole nano-dollars (USD 1e-9): a price of 0.15 USD for a million tokens is 150 for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import orjson

from sidecar.bounded_cache import BoundedCache

NANO: Final = 1_000_000_000
"""Nano-dollars in a dollar."""

ANY: Final = "*"
"""The entry of a policy for every model that has none of its own."""

_PICO: Final = 1000
"""Pico-dollars in a nano-dollar: sums of prices for single tokens have no rounding error."""
_REMEMBERED: Final = 256 * 1024
_LONGEST: Final = 200
_VERSION: Final = re.compile(r"(?:-\d{4}-\d{2}-\d{2}|-\d{8}|-\d{4}|-latest|-preview|[@:][^@:]*)$")
"""What may follow the name of a model that has a price; another number in the name is another model."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of one model cost, in USD.

    cached   input that the provider read from its cache; None: as `input`
    written  input that the provider wrote into its cache; None: as `input`
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None

    def cost(self, given: int, made: int, cached: int = 0, written: int = 0) -> int:
        """Return what tokens cost, in nano-dollars, rounded up. `given` includes those of `cached` and `written`."""
        plain = max(0, given - cached - written)
        read = self.input if self.cached is None else self.cached
        stored = self.input if self.written is None else self.written
        pico = plain * _pico(self.input) + cached * _pico(read) + written * _pico(stored) + made * _pico(self.output)
        return -(-pico // _PICO)


def _pico(price: float) -> int:
    """Return the price of one token in pico-dollars, from that of a million in dollars."""
    return round(price * 1_000_000)


class PriceTable:
    """The prices that hold for one policy: its own, and under them the list prices that are shipped."""

    def __init__(self, own: Mapping[str, Price] | None = None) -> None:
        own = own or {}
        self._any = own.get(ANY)
        self._prices = {**list_prices(), **{name.lower(): price for name, price in own.items() if name != ANY}}
        self._found: BoundedCache[str, Price | None] = BoundedCache(_REMEMBERED)

    def __iter__(self) -> Iterator[tuple[str, Price]]:
        """Yield each name with its price, in the order of names; the one for all others last."""
        yield from sorted(self._prices.items())
        if self._any is not None:
            yield ANY, self._any

    def find(self, model: str) -> Price | None:
        """Return the price of a model; None if there is none.

        `gpt-4o-2024-08-06` has the price of `gpt-4o` unless it has its own: versions are cut off from the end,
        one after another, and names before a slash (`openai/gpt-4o`) from the front.
        """
        try:
            return self._found[model]
        except KeyError:
            pass
        price = self._find(model) if len(model) <= _LONGEST else self._any
        return self._found.remember(model, price, 128 + len(model))

    @property
    def otherwise(self) -> Price | None:
        """The price of models that have none of their own; None: there is no such price."""
        return self._any

    @property
    def dearest(self) -> Price:
        """The highest price of all: what is counted for a model that was not named before it was used."""
        return self._any or max(self._prices.values(), key=lambda price: price.output)

    def _find(self, model: str) -> Price | None:
        name = model.lower()
        while True:
            rest = name
            while rest:
                if rest in self._prices:
                    return self._prices[rest]
                shorter = _VERSION.sub("", rest)
                rest = "" if shorter == rest else shorter
            _, slash, name = name.partition("/")
            if not slash:
                return self._any


@cache
def _shipped() -> Mapping[str, Any]:
    found: Mapping[str, Any] = orjson.loads(resources.files("sidecar").joinpath("prices.json").read_bytes())
    return found


def list_prices() -> dict[str, Price]:
    """Return the list prices that are shipped, by model."""
    return {name: Price(**values) for name, values in _shipped()["models"].items()}


def date_of_list() -> str:
    """Return the day on which the shipped list was made (`2026-01-31`)."""
    return str(_shipped()["date"])
