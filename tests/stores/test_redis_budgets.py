"""Budgets of the stores: memory and a real Redis answer alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.budget import Budget, BudgetPer, Claim, Held, Standing, Unit
from sidecar.secret import Secret
from sidecar.stores.interfaces import BudgetStore
from sidecar.stores.memory_budgets import HELD_UP, MemoryBudgets
from sidecar.stores.redis_budgets import RedisBudgets
from sidecar.stores.redis_connection import RedisConnection
from sidecar.stores.redis_urls import connector, parse_redis_url
from tests.support.redis import RedisServer, redis_server

START = 1_800_000_000.0
DAY = Budget("day", BudgetPer.ORGANIZATION, Unit.TOKENS, 1000, 60.0)
MONEY = Budget("money", BudgetPer.ORGANIZATION, Unit.USD, 5_000_000_000, 3600.0)


class Bench:
    """One store under a clock that the test turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: RedisServer | None) -> None:
        self.now = START
        self.loop = loop
        self._line: RedisConnection | None = None
        self.store: BudgetStore
        if server is None:
            self.store = MemoryBudgets()
        else:
            server.cli("FLUSHALL")
            self._line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
            self.store = RedisBudgets(self._line, clock=lambda: self.now)

    def claim(self, holder: str, *claims: Claim, ttl: float = 30.0) -> list[Held]:
        async def claimed() -> list[Held]:
            answer = self.store.claim(claims, holder, ttl, self.now)
            return list(answer if isinstance(answer, tuple) else await answer)

        return self.loop.run_until_complete(claimed())

    def one(self, holder: str, hold: int, least: int = -1, spend: int = 0, *, bound: bool = True) -> Held:
        (held,) = self.claim(holder, Claim(DAY, "acme", hold, hold if least < 0 else least, spend, bound))
        return held

    def close(self) -> None:
        if self._line is not None:
            self.loop.run_until_complete(self._line.close())


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def bench(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Iterator[Bench]:
    made = Bench(loop, request.getfixturevalue("server") if request.param == "redis" else None)
    yield made
    made.close()


def test_a_hold_keeps_others_out_until_it_is_given_back(bench: Bench) -> None:
    assert bench.one("a", 600) == Held(600, 400, 0.0)
    assert bench.one("b", 401) == Held(0, 400, HELD_UP)
    assert bench.one("b", 400) == Held(400, 0, 0.0)
    assert bench.one("a", 0, spend=250, bound=False) == Held(0, 350, 0.0)
    assert bench.one("c", 350) == Held(350, 0, 0.0)


def test_what_was_used_counts_for_the_window(bench: Bench) -> None:
    bench.one("a", 0, spend=900, bound=False)
    refused = bench.one("b", 200)
    assert (refused.held, refused.left) == (0, 100)
    assert 60.0 <= refused.retry_after <= 61.01
    bench.now += 59.9
    assert bench.one("b", 200).held == 0
    bench.now += refused.retry_after - 59.9
    assert bench.one("b", 200) == Held(200, 800, 0.0)


def test_a_stream_gets_what_is_left(bench: Bench) -> None:
    bench.one("a", 900)
    assert bench.one("b", 50, 50) == Held(50, 50, 0.0)
    assert bench.one("b", 256, 1, spend=50) == Held(50, 0, 0.0), "50 are used, and the 50 that are left are held"
    assert bench.one("b", 256, 1, spend=20) == Held(30, 0, 0.0), "what it holds is what it can use"
    last = bench.one("b", 256, 1, spend=30)
    assert (last.held, last.left, last.retry_after) == (0, 0, HELD_UP)


def test_an_estimate_that_was_too_high_is_taken_back(bench: Bench) -> None:
    bench.one("a", 0, spend=700, bound=False)
    assert bench.one("a", 0, spend=-200, bound=False) == Held(0, 500, 0.0)
    assert bench.one("a", 0, spend=-900, bound=False) == Held(0, 1000, 0.0)


def test_what_a_dead_replica_held_is_free_after_its_time(bench: Bench) -> None:
    bench.one("dead", 1000)
    bench.one("living", 0)
    bench.now += 29.9
    assert bench.one("b", 1).held == 0
    bench.now += 0.2
    assert bench.one("b", 1000) == Held(1000, 0, 0.0)


def test_a_renewed_hold_stays(bench: Bench) -> None:
    bench.one("a", 1000)
    for _ in range(5):
        bench.now += 10.0
        bench.one("a", 1000, 0, bound=False)
    assert bench.one("b", 1).held == 0


def test_all_budgets_of_a_request_or_none(bench: Bench) -> None:
    cents = Claim(MONEY, "acme", 3_000_000_000, 3_000_000_000)
    assert bench.claim("a", Claim(DAY, "acme", 100, 100), cents) == [
        Held(100, 900, 0.0),
        Held(3 * 10**9, 2 * 10**9, 0.0),
    ]
    refused = bench.claim("b", Claim(DAY, "acme", 100, 100), cents)
    assert refused == [Held(0, 900, 0.0), Held(0, 2 * 10**9, HELD_UP)]


def test_looking_holds_nothing(bench: Bench) -> None:
    (looked,) = bench.claim("a", Claim(DAY, "acme", 600, 600), ttl=0.0)
    assert looked.held == 600
    assert bench.one("b", 1000).held == 1000


def test_subjects_have_their_own(bench: Bench) -> None:
    bench.one("a", 1000)
    assert bench.claim("b", Claim(DAY, "globex", 1000, 1000))[0].held == 1000


def test_what_is_forgotten(bench: Bench) -> None:
    async def forgotten(subject: str) -> int:
        return await bench.store.forget([DAY, MONEY], subject)

    bench.one("a", 0, spend=900, bound=False)
    assert bench.loop.run_until_complete(forgotten("globex")) == 0
    assert bench.loop.run_until_complete(forgotten("acme")) == 1
    assert bench.one("b", 1000).held == 1000


def test_a_look_says_what_was_used_and_what_is_held(bench: Bench) -> None:
    def looked() -> list[Standing]:
        return list(bench.loop.run_until_complete(bench.store.look([DAY, MONEY], "acme", bench.now)))

    assert looked() == [Standing(0, 0, 0.0)] * 2
    bench.one("a", 300, spend=200, bound=False)
    bench.now += 10
    bench.one("b", 100, spend=50, bound=False)
    assert looked() == [Standing(250, 400, 61.0), Standing(0, 0, 0.0)]
    bench.now += 25
    assert looked()[0] == Standing(250, 100, 36.0), "what a held is over"
    bench.now += 30
    assert looked()[0] == Standing(50, 0, 6.0), "what a used counts no more"
    bench.now += 6
    assert looked()[0] == Standing(0, 0, 0.0)
    assert bench.one("c", 1000).held == 1000


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 700),
        st.integers(0, 300),
        st.integers(-100, 400),
        st.booleans(),
        st.sampled_from([0.0, 0.4, 3.0, 20.0, 31.0]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_redis_answers_as_memory_does(
    loop: asyncio.AbstractEventLoop, server: RedisServer, steps: list[tuple[str, int, int, int, bool, float]]
) -> None:
    memory, redis = Bench(loop, None), Bench(loop, server)
    try:
        for holder, hold, least, spend, bound, pause in steps:
            for bench in (memory, redis):
                bench.now += pause
            ours = memory.one(holder, hold, min(least, hold), spend, bound=bound)
            theirs = redis.one(holder, hold, min(least, hold), spend, bound=bound)
            assert (ours.held, ours.left) == (theirs.held, theirs.left)
            assert ours.retry_after == pytest.approx(theirs.retry_after, abs=0.01)
            assert not bound or spend > 0 or ours.left >= min(0, ours.left)
    finally:
        redis.close()
