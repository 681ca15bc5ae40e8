from __future__ import annotations

import pytest

from sidecar.budget import Amount, Unit
from tests.support.policies import BASE, read, said

ROUTE = "routes: [{ name: chat, match: { path: /chat }, protocol: openai, message: {} }]\n"


def policy(limit: str) -> str:
    return BASE + ROUTE + f"budgets: [{{ name: a, per: ip, limit: {limit} }}]"


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("200k tokens", Amount(Unit.TOKENS, 200_000)),
        ("1.5M tokens", Amount(Unit.TOKENS, 1_500_000)),
        ("7 tokens", Amount(Unit.TOKENS, 7)),
        ("200ktokens", Amount(Unit.TOKENS, 200_000)),
        ("5 USD", Amount(Unit.USD, 5 * 10**9)),
        ("0.01 USD", Amount(Unit.USD, 10**7)),
    ],
)
def test_amounts(written: str, amount: Amount) -> None:
    assert read(policy(written)).schema.budgets[0].limit == amount


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("$5", "is not an amount of tokens or money; write 5 USD"),
        ("5 usd", "is not an amount of tokens or money; write 5 USD"),
        ("5 dollars", "is not an amount of tokens or money; write 5 USD"),
        ("200K", "is not an amount of tokens or money; write 200k tokens"),
        ("200000", "is not an amount of tokens or money; write 200000 tokens or 200000 USD"),
        ("many", "is not an amount of tokens or money; write an amount like 200k tokens or 5 USD"),
        ("1.5 tokens", "is no whole number of tokens; write a number like 200k tokens"),
        ("5k USD", "has a letter after its dollars; write a number like 5000 USD"),
        ("0 tokens", "is out of range (0 tokens); write 1 to 1000000M tokens"),
        ("9999999 USD", "is out of range (9999999 USD); write more than 0 and at most 1000000 USD"),
    ],
)
def test_what_is_no_amount(written: str, instead: str) -> None:
    (only,) = said(policy(written))
    assert only == f"P:4:38: budgets[0].limit: {instead}"


def test_prices_have_a_range() -> None:
    (only,) = said(BASE + "prices: { m: { input: -1, output: 2 } }")
    assert only.endswith("prices.m.input: is out of range; write 0 to 100000, in USD for a million tokens")
