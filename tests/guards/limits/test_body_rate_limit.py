"""Limits that wait for the body, joined to those that did not."""

from __future__ import annotations

import inspect

import pytest

from sidecar.decision import KEEP, PASS, Refuse
from sidecar.exchange import Client
from sidecar.guards.limits.body_rate_limit import HeadRateLimits, build_body_rate_limit, split
from sidecar.guards.limits.rate_limit import build_rate_limit
from sidecar.limit import Limit, Per
from sidecar.session import Session
from sidecar.stores.memory_rates import MemoryRateStore
from tests.support.exchanges import exchange

IP = Limit("ip-minute", Per.IP, 60, 60.0)
BURST = Limit("chat-burst", Per.SESSION, 2, 10.0)
CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")


def session(letter: str) -> Session:
    return Session(letter * 64, "default", 0.0, 0.0, "203.0.113.0/24")


async def settled(answer):
    return await answer if inspect.isawaitable(answer) else answer


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waiting"])
async def test_sessions_of_one_address_are_told_apart(waits) -> None:
    store = MemoryRateStore()
    early, late = split([IP, BURST])
    assert (early, late) == ((IP,), (BURST,))
    head = build_rate_limit(early, store, waits=waits)
    body = build_body_rate_limit(head, build_rate_limit(late, store, waits=waits))
    outcomes = []
    for letter in "aabab":
        asked = exchange("POST", client=CLIENT)
        assert await settled(head.check(asked)) is PASS
        asked.session = session(letter)
        outcomes.append(await settled(body.inspect(asked, b"{}")))
    assert [outcome is KEEP for outcome in outcomes] == [True, True, True, False, True]
    assert isinstance(outcomes[3], Refuse)
    assert outcomes[3].detail["limit"] == "chat-burst"
    assert asked.limits is not None
    assert [ask.limit.name for ask in asked.limits.asks] == ["ip-minute", "chat-burst"]
    told = asked.limits.lines.decode()
    assert '"ip-minute";q=60;w=60, "chat-burst";q=2;w=10' in told
    assert "X-RateLimit-Limit: 2\r\nX-RateLimit-Remaining: 0\r\n" in told


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waiting"])
async def test_what_has_no_body_is_asked_at_its_head(waits) -> None:
    store = MemoryRateStore()
    head = build_rate_limit((IP,), store, waits=waits)
    late = build_body_rate_limit(head, build_rate_limit((BURST,), store, waits=waits))
    bodiless = []
    for _ in range(3):
        asked = exchange("POST", client=CLIENT)
        await settled(head.check(asked))
        bodiless.append(await settled(late.check(asked)) is PASS)
    assert bodiless == [True, True, False]
    assert [ask.limit.name for ask in asked.limits.asks] == ["ip-minute", "chat-burst"]
    # Whose body is to come is asked when it has come.
    coming = exchange("POST", client=CLIENT, Content_Length="2")
    await settled(head.check(coming))
    assert await settled(late.check(coming)) is PASS
    assert isinstance(await settled(late.inspect(coming, b"{}")), Refuse)


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waiting"])
async def test_a_session_of_the_head_is_asked_with_the_rest_so_that_a_refusal_counts_nowhere(waits) -> None:
    store = MemoryRateStore()
    first, late_half = (build_rate_limit((limit,), store, waits=waits) for limit in (IP, BURST))
    head = HeadRateLimits(first, build_rate_limit((IP, BURST), store, waits=waits))
    late = build_body_rate_limit(first, late_half)
    outcomes = []
    for _ in range(5):
        asked = exchange("POST", client=CLIENT, Content_Length="2")
        asked.session = session("a")
        outcomes.append(await settled(head.check(asked)) is PASS)
        if outcomes[-1]:
            assert await settled(late.check(asked)) is PASS
            assert await settled(late.inspect(asked, b"{}")) is KEEP
    assert outcomes == [True, True, False, False, False]
    assert asked.limits is not None
    assert [
        (ask.limit.name, take.remaining) for ask, take in zip(asked.limits.asks, asked.limits.takes, strict=True)
    ] == [
        ("ip-minute", 58),
        ("chat-burst", 0),
    ]
