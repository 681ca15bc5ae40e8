from __future__ import annotations

import re

import pytest

from sidecar.prices import Price, PriceTable, date_of_list, list_prices


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param("gpt-4o-mini", "gpt-4o-mini", id="by-name"),
        pytest.param("GPT-4o-Mini", "gpt-4o-mini", id="letter-case"),
        pytest.param("gpt-4o-mini-2024-07-18", "gpt-4o-mini", id="dated"),
        pytest.param("gpt-4o-2024-05-13", "gpt-4o-2024-05-13", id="a-version-with-its-own"),
        pytest.param("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", id="dated-by-anthropic"),
        pytest.param("openai/gpt-4o", "gpt-4o", id="with-its-provider"),
        pytest.param("models/gemini-2.5-flash", "gemini-2.5-flash", id="google"),
        pytest.param("gpt-4o:free", "gpt-4o", id="tagged"),
        pytest.param("gpt-4o-turbo-deluxe", None, id="another-model"),
        pytest.param("gpt-5.99", None, id="another-number"),
        pytest.param("x" * 300, None, id="too-long"),
        pytest.param("", None, id="none"),
    ],
)
def test_how_a_price_is_found(asked: str, found: str | None) -> None:
    assert PriceTable().find(asked) == (None if found is None else list_prices()[found])


def test_a_policy_goes_before_the_list() -> None:
    table = PriceTable({"gpt-4o": Price(1.0, 1.0), "*": Price(9.0, 9.0)})
    assert table.find("gpt-4o-2024-08-06") == Price(1.0, 1.0)
    assert table.find("house-brand") == Price(9.0, 9.0)
    assert table.dearest == Price(9.0, 9.0)


def test_the_list_is_whole() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", date_of_list())
    prices = list_prices()
    assert len(prices) > 100
    assert all(price.input >= 0 and price.output >= 0 for price in prices.values())
    assert all(price.cached is None or price.cached <= price.input for price in prices.values())


def test_costs_add_up() -> None:
    price = Price(0.0375, 0.15)
    assert price.cost(1, 0) == 38, "a nano-dollar and a part is two"
    assert price.cost(1_000_000, 1_000_000) == 37_500_000 + 150_000_000
