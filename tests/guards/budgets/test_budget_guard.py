from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.budget import Budget, BudgetPer, Counted, OnEnd, Unit
from sidecar.decision import KEEP, PASS, Keep, Refuse
from sidecar.exchange import Client, Exchange
from sidecar.guards.budgets.budget_guard import BudgetGuard, Holder
from sidecar.prices import Price, PriceTable
from sidecar.session import Session
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.memory_budgets import MemoryBudgets
from sidecar.vocabulary import Code, Event
from tests.support.clock import FakeClock
from tests.support.exchanges import exchange, said

VISITOR = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
BODY = json.dumps({"model": "gpt-4o", "max_tokens": 500, "messages": []}).encode()
DAY = Budget("day", BudgetPer.ORGANIZATION, Unit.TOKENS, 1000, 86_400.0)


def guard(*budgets: Budget, enforce: bool = True, prices: PriceTable | None = None) -> BudgetGuard:
    ledger = BudgetLedger(MemoryBudgets(), FakeClock())
    return BudgetGuard(budgets or (DAY,), ledger, prices or PriceTable(), Holder("openai", "main"), enforce=enforce)


def asked(organization: str = "acme", method: str = "POST", **more: Any) -> Exchange:
    made = exchange(method, "/v1/chat/completions", client=VISITOR, **more)
    made.organization = organization
    return made


async def test_held_until_there_is_no_room() -> None:
    one = guard()
    first = asked()
    assert one.inspect(first, BODY) is KEEP
    refused = await said(one.inspect(asked(), BODY))
    assert isinstance(refused, Refuse)
    assert (refused.code, refused.event) == (Code.RATE_LIMIT_EXCEEDED, Event.BUDGET_EXCEEDED)
    assert refused.fields == [(b"Retry-After", b"2")]
    assert refused.detail == {
        "budget": "day", "per": "organization", "limit": "1000 tokens", "on_end": "stop", "retry_after": 2,
    }  # fmt: skip
    assert one.inspect(asked("globex"), BODY) is KEEP
    for release in first.releases:
        release()
    assert one.inspect(asked(), BODY) is KEEP, "a request that was never answered has used nothing"


async def test_what_was_used_is_waited_for() -> None:
    one = guard()
    first = asked()
    one.inspect(first, BODY)
    first.spend.answered = True
    first.spend.report(600, 300, 0, 0)
    for release in first.releases:
        release()
    refused = await said(one.inspect(asked(), BODY))
    assert isinstance(refused, Refuse)
    assert refused.fields[1] == (b"x-should-retry", b"false")
    assert 86_400 <= int(refused.fields[0][1]) <= 86_400 * 61 / 60 + 1


@pytest.mark.parametrize(
    ("per", "other"),
    [
        pytest.param(BudgetPer.ORGANIZATION, lambda e: setattr(e, "organization", "globex"), id="organization"),
        pytest.param(BudgetPer.SESSION, lambda e: setattr(e, "session", Session("k2", "acme", 0, 0, "")), id="session"),
        pytest.param(BudgetPer.USER, lambda e: setattr(e, "user", "bob"), id="user"),
        pytest.param(BudgetPer.IP, lambda e: setattr(e, "client", Client("1.2.3.4", "1.2.3.4", "")), id="ip"),
        pytest.param(BudgetPer.CREDENTIAL, lambda e: setattr(e, "organization", "globex"), id="credential"),
    ],
)
async def test_each_subject_has_its_own(per: BudgetPer, other: Any) -> None:
    one = guard(Budget("own", per, Unit.TOKENS, 600, 60.0))
    first, again, else_ = asked(), asked(), asked()
    other(else_)
    assert one.inspect(first, BODY) is KEEP
    assert isinstance(one.inspect(again, BODY), Refuse)
    assert one.inspect(else_, BODY) is KEEP


async def test_a_budget_that_warns() -> None:
    one = guard(Budget("day", BudgetPer.IP, Unit.TOKENS, 600, 60.0, on_end=OnEnd.WARN))
    assert one.inspect(asked(), BODY) is KEEP
    warned = one.inspect(asked(), BODY)
    assert isinstance(warned, Keep)
    assert [finding.event for finding in warned.findings] == [Event.BUDGET_EXCEEDED]


async def test_observed_it_is_counted_all_the_same() -> None:
    one = guard(enforce=False)
    for _ in range(3):
        made = asked()
        one.inspect(made, BODY)
        assert made.spend is not None


async def test_more_than_the_whole_budget_holds_all_of_it() -> None:
    one = guard(Budget("small", BudgetPer.IP, Unit.TOKENS, 100, 60.0, shown=True))
    made = asked()
    assert one.inspect(made, BODY) is KEEP
    assert made.notes == {"X-Sidecar-Budget-Remaining": '"small";r=0;u="tokens"'}


async def test_money_needs_a_price() -> None:
    dollars = Budget("usd", BudgetPer.IP, Unit.USD, 10**9, 60.0)
    body = BODY.replace(b"gpt-4o", b"house-brand")
    refused = guard(dollars).inspect(asked(), body)
    assert isinstance(refused, Refuse)
    assert (refused.code, refused.detail) == (Code.FORBIDDEN, {"reason": "no price", "model": "house-brand"})
    priced = PriceTable({"*": Price(1.0, 2.0)})
    made = asked()
    assert guard(dollars, prices=priced).inspect(made, body) is KEEP
    assert made.spend.left == [10**9 - (-(-len(body) // 4)) * 1000 - 500 * 2000]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_what_asks_no_model_holds_nothing(method: str) -> None:
    made = asked(method=method)
    one = guard()
    assert one.inspect(made, BODY) is KEEP
    assert one.check(made) is PASS
    assert made.spend is None


@pytest.mark.parametrize(
    ("stream", "on_end", "left"),
    [
        pytest.param(True, OnEnd.STOP, 10**6 - 4096, id="a-stream-that-can-be-ended"),
        pytest.param(True, OnEnd.FINISH, 10**6 - 100_000, id="a-stream-that-may-finish"),
        pytest.param(False, OnEnd.STOP, 10**6 - 100_000, id="an-answer-in-one-piece"),
    ],
)
async def test_one_stream_does_not_hold_what_it_names(stream: bool, on_end: OnEnd, left: int) -> None:
    budget = Budget("day", BudgetPer.ORGANIZATION, Unit.TOKENS, 10**6, 60.0, Counted.OUTPUT, on_end)
    made = asked()
    body = json.dumps({"model": "gpt-4o", "max_tokens": 100_000, "stream": stream}).encode()
    assert guard(budget).inspect(made, body) is KEEP
    assert made.spend.left == [left]


async def test_a_body_that_streams_is_known_by_its_size() -> None:
    one = guard()
    made = asked(content_length="400", content_type="application/json")
    assert one.check(made) is PASS
    assert made.spend.left == [1000 - 100 - 513]
