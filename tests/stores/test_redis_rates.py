"""The sliding window itself: memory and a real Redis against the exact log."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.limit import Ask, Limit, Per, Takes
from sidecar.secret import Secret
from sidecar.stores.interfaces import RateStore
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.redis_connection import RedisConnection
from sidecar.stores.redis_rates import RedisRateStore
from sidecar.stores.redis_urls import connector, parse_redis_url
from tests.support.oracle import ExactLog, worst
from tests.support.redis import RedisServer, redis_server

START = 1_800_000_000.25


class Bench:
    """One store under a clock that the test turns, asked without `await`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: RedisServer | None) -> None:
        self.now = START
        self._loop = loop
        self._line: RedisConnection | None = None
        self.store: RateStore
        if server is None:
            self.store = MemoryRateStore()
        else:
            self._line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
            self.store = RedisRateStore(self._line, clock=lambda: self.now)

    def take(self, asks: Sequence[Ask]) -> Takes:
        return self._loop.run_until_complete(self._take(asks))

    async def _take(self, asks: Sequence[Ask]) -> Takes:
        takes = self.store.take(asks, self.now)
        return takes if isinstance(takes, tuple) else await takes

    def peek(self, asks: Sequence[Ask]) -> Takes:
        async def peeked() -> Takes:
            takes = self.store.peek(asks, self.now)
            return takes if isinstance(takes, tuple) else await takes

        return self._loop.run_until_complete(peeked())

    def reset(self, per: str, subject: str) -> int:
        return self._loop.run_until_complete(self.store.reset(per, subject))

    def close(self) -> None:
        if self._line is not None:
            self._loop.run_until_complete(self._line.close())


class Benches:
    """Fresh benches on one loop and, for Redis, one server that is emptied between them."""

    def __init__(self, server: RedisServer | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._server = server
        self._open: list[Bench] = []

    def fresh(self) -> Bench:
        for bench in self._open:
            bench.close()
        if self._server is not None:
            self._server.cli("flushall")
        self._open = [Bench(self._loop, self._server)]
        return self._open[0]

    def close(self) -> None:
        for bench in self._open:
            bench.close()
        self._loop.close()


@pytest.fixture(scope="module", params=["memory", "redis"])
def benches(request: pytest.FixtureRequest) -> Iterator[Benches]:
    if request.param == "memory":
        made = Benches(None)
        yield made
        made.close()
        return
    with redis_server() as server:
        made = Benches(server)
        yield made
        made.close()


WINDOWS = st.sampled_from([0.5, 1.0, 7.0, 60.0])
LIMITS = st.tuples(st.integers(1, 6), WINDOWS)
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.001, 1 / 60, 0.02, 0.1, 0.3, 0.49, 1.0, 1.02])),
    min_size=10,
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=LIMITS, second=LIMITS, steps=STEPS)
def test_against_the_exact_log(
    benches: Benches, first: tuple[int, float], second: tuple[int, float], steps: list[tuple[str, float]]
) -> None:
    bench = benches.fresh()
    own, shared = Limit("own", Per.IP, *first), Limit("shared", Per.ORGANIZATION, *second)
    keys = {("own", subject): own for subject in "ab"} | {("shared", "all"): shared}
    exact = {key: ExactLog(limit, lag=limit.window / 60 + 1e-4) for key, limit in keys.items()}
    for subject, part in steps:
        bench.now += part * own.window
        asks = (Ask(own, subject), Ask(shared, "all"))
        mine = [exact["own", subject], exact["shared", "all"]]
        takes = bench.take(asks)
        if all(take.allowed for take in takes):
            for log in mine:
                log.add(bench.now)
        else:
            assert not all(log.room(bench.now) for log in mine), "refused, though even a lagging log has room"
            assert all((take.retry_after > 0) == (not take.allowed) for take in takes)
    for key, log in exact.items():
        assert worst(log.times, keys[key].window) <= keys[key].limit


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 8), window=WINDOWS, gaps=st.lists(st.floats(0, 0.6), min_size=8, max_size=20))
def test_who_waits_as_told_passes_and_not_a_bucket_earlier(
    benches: Benches, limit: int, window: float, gaps: list[float]
) -> None:
    bench, rule = benches.fresh(), Limit("own", Per.IP, limit, window)
    for gap in gaps:
        bench.now += gap * window
        (take,) = bench.take([Ask(rule, "a")])
        if take.allowed:
            continue
        assert take.retry_after <= take.reset_after <= window * 61 / 60 + 1e-3
        told = bench.now + take.retry_after + 1e-6
        bench.now = max(bench.now, told - window / 60)
        assert not bench.peek([Ask(rule, "a")])[0].allowed
        bench.now = told
        assert bench.take([Ask(rule, "a")])[0].allowed


def test_a_steady_pace_at_the_limit_passes_as_in_an_exact_log(benches: Benches) -> None:
    bench, rule = benches.fresh(), Limit("steady", Per.IP, 30, 60.0)
    passed = 0
    for _ in range(300):
        bench.now += 2.0
        passed += bench.take([Ask(rule, "a")])[0].allowed
    assert passed >= 300 * 59 / 61


def test_flood_at_twice_the_pace_is_cut_to_the_limit_and_not_punished(benches: Benches) -> None:
    bench, rule = benches.fresh(), Limit("steady", Per.IP, 30, 60.0)
    passed = 0
    for _ in range(600):
        bench.now += 1.0
        passed += bench.take([Ask(rule, "a")])[0].allowed
    assert 285 <= passed <= 300


def test_when_one_limit_refuses_none_is_consumed(benches: Benches) -> None:
    bench = benches.fresh()
    narrow, wide = Limit("narrow", Per.IP, 1, 60.0), Limit("wide", Per.ORGANIZATION, 10, 60.0)
    asks = [Ask(narrow, "a"), Ask(wide, "all")]
    assert [take.remaining for take in bench.take(asks)] == [0, 9]
    for _ in range(5):
        refused = bench.take(asks)
        assert [(take.allowed, take.remaining) for take in refused] == [(False, 0), (True, 9)]
    assert [take.remaining for take in bench.peek(asks)] == [0, 9]


def test_peek_consumes_nothing_and_reset_forgets_one_subject(benches: Benches) -> None:
    bench = benches.fresh()
    minute, hour = Limit("minute", Per.IP, 2, 60.0), Limit("hour", Per.IP, 2, 3600.0)
    both = [[Ask(minute, subject), Ask(hour, subject)] for subject in "ab"]
    for asks in both:
        bench.take(asks)
        bench.take(asks)
        assert not any(take.allowed for take in bench.take(asks))
    assert bench.peek([Ask(minute, "stranger")])[0] == (True, 2, 0.0, 0.0)
    assert bench.reset("ip", "a") >= 1
    assert bench.reset("organization", "b") == 0
    assert [take.remaining for take in bench.peek(both[0])] == [2, 2]
    assert bench.take(both[0])[0].allowed
    assert not bench.take(both[1])[0].allowed


def test_a_clock_that_steps_back_frees_nothing(benches: Benches) -> None:
    bench, rule = benches.fresh(), Limit("own", Per.IP, 2, 60.0)
    bench.take([Ask(rule, "a")])
    bench.now -= 30.0
    bench.take([Ask(rule, "a")])
    bench.now -= 10.0
    assert not bench.take([Ask(rule, "b"), Ask(rule, "a")][1:])[0].allowed


def test_any_text_may_be_a_subject(benches: Benches) -> None:
    bench, rule = benches.fresh(), Limit("own", Per.USER, 1, 60.0)
    for subject in ("", "with space\r\n*1", "ünï", "\ud800", "x" * 10_000):
        assert [bench.take([Ask(rule, subject)])[0].allowed for _ in range(2)] == [True, False]


class TestRedisAlone:
    def test_a_key_is_small_and_expires(self) -> None:
        with redis_server() as server:
            benches = Benches(server)
            bench, rule = benches.fresh(), Limit("busy", Per.IP, 1_000_000, 60.0)
            for _ in range(400):
                bench.now += 0.5
                bench.take([Ask(rule, "a")])
            assert int(server.cli("hstrlen", "sidecar:r:ip:a", "busy:60.0")) <= 12 + 6 * 61
            assert 61_000 <= int(server.cli("pttl", "sidecar:r:ip:a")) <= 80_000
            benches.close()

    async def test_a_flood_of_one_subject_costs_redis_nothing(self) -> None:
        with redis_server() as server:
            line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
            store, rule = RedisRateStore(line), Limit("own", Per.IP, 1, 60.0)
            takes = [store.take([Ask(rule, "a")], 0.0) for _ in range(2)]
            await asyncio.gather(*(take for take in takes if not isinstance(take, tuple)))
            before = server.cli("info", "commandstats")
            refused = [store.take([Ask(rule, "a")], 1.0) for _ in range(1000)]
            assert all(isinstance(take, tuple) and not take[0].allowed for take in refused)
            assert _calls(server.cli("info", "commandstats")) == _calls(before)
            assert isinstance(store.take([Ask(rule, "a")], 62.0), asyncio.Future), "asked again once it may pass"
            await line.close()

    async def test_the_script_is_sent_again_after_script_flush(self) -> None:
        with redis_server() as server:
            line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
            store, rule = RedisRateStore(line), Limit("own", Per.IP, 10, 60.0)
            for left in (9, 8, 7):
                server.cli("script", "flush")
                takes = store.take([Ask(rule, "a")], 0.0)
                assert not isinstance(takes, tuple)
                assert (await takes)[0].remaining == left
            await line.close()

    def test_exactly_the_limit_passes_from_four_processes(self) -> None:
        with redis_server() as server:
            command = [sys.executable, "-c", FLOOD, server.url]
            flooders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
            passed = [int(flooder.communicate(timeout=60)[0]) for flooder in flooders]
        assert sum(passed) == 500
        assert sum(count > 0 for count in passed) >= 2


def _calls(stats: str) -> str:
    return "\n".join(line.split(",")[0] for line in stats.splitlines() if "evalsha" in line or "hget" in line)


FLOOD = """
import asyncio, sys
from sidecar.limit import Ask, Limit, Per
from sidecar.secret import Secret
from sidecar.stores.redis_rates import RedisRateStore
from sidecar.stores.redis_urls import connector, parse_redis_url
from sidecar.stores.redis_connection import RedisConnection

async def main():
    line = RedisConnection(connector(parse_redis_url(Secret(sys.argv[1])), 10.0), 10.0)
    store = RedisRateStore(line)
    asks = [Ask(Limit("ip", Per.IP, 500, 600.0), "a"), Ask(Limit("org", Per.ORGANIZATION, 5000, 600.0), "b")]
    passed = 0
    async def client():
        nonlocal passed
        for _ in range(10):
            takes = store.take(asks, 0.0)
            takes = takes if isinstance(takes, tuple) else await takes
            passed += all(take.allowed for take in takes)
    await asyncio.gather(*(client() for _ in range(40)))
    await line.close()
    print(passed)

asyncio.run(main())
"""


def test_limits_that_are_looked_at_neither_count_nor_refuse(benches: Benches) -> None:
    bench = benches.fresh()
    chat, pages = Limit("chat", Per.IP, 2, 60.0), Limit("pages", Per.IP, 4, 60.0)
    load = (Ask(chat, "a", counted=False), Ask(pages, "a"))
    message = (Ask(chat, "a"), Ask(pages, "a"))
    assert [take[:2] for take in bench.take(load)] == [(True, 2), (True, 3)]
    assert [take[:2] for take in bench.take(message)] == [(True, 1), (True, 2)]
    assert [take[:2] for take in bench.take(message)] == [(True, 0), (True, 1)]
    full = bench.take(load)
    assert (full[0].remaining, full[1][:2]) == (0, (True, 0))  # the full limit was only looked at
    assert full[0].retry_after > 0
    refused = bench.take(load)
    assert (refused[1].allowed, refused[1].remaining) == (False, 0)
    again = bench.take((Ask(chat, "b", counted=False), Ask(pages, "b")))
    assert [take[:2] for take in again] == [(True, 2), (True, 3)]
