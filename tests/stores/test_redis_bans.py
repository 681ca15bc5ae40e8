"""Bans travel between replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sidecar.clock import SystemClock
from sidecar.secret import Secret
from sidecar.stores.factory import Stores, open_stores
from tests.support.exchanges import Recorder
from tests.support.redis import RedisServer, redis_server


async def until(happens: Callable[[], object], seconds: float = 3.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


async def replica(server: RedisServer) -> Stores:
    stores = open_stores(Secret(server.url), clock=SystemClock(), events=Recorder(), strikes=3)
    await stores.start()
    return stores


async def test_bans_spread_are_listed_and_lifted_everywhere() -> None:
    with redis_server() as server:
        one, two = await replica(server), await replica(server)
        now = time.time()
        strikes = [one.bans.strike("a", 1, now, "AUTH_FAILED", f"r-{number}") for number in range(3)]
        assert [ban is not None for ban in strikes] == [False, False, True]
        await two.bans.ban("b", now + 500, "by hand")
        assert one.bans.banned("a", now) > now
        await until(lambda: two.bans.banned("a", now) and one.bans.banned("b", now))
        assert await one.bans.list(now) == await two.bans.list(now)
        assert [ban.reason for ban in await one.bans.list(now)] == ["by hand", "strikes"]
        (_, struck) = await two.bans.list(now)
        assert (struck.kinds, struck.requests) == ((("AUTH_FAILED", 3),), ("r-0", "r-1", "r-2"))
        late = await replica(server)
        await until(lambda: late.bans.banned("a", now))
        assert late.bans.count() == 2
        assert await two.bans.lift("a")
        await until(lambda: not one.bans.banned("a", now) and not late.bans.banned("a", now))
        for stores in (one, two, late):
            await stores.close()


async def test_strikes_on_several_replicas_add_up() -> None:
    with redis_server() as server:
        one, two = await replica(server), await replica(server)
        now = time.time()
        for stores in (one, two):
            assert stores.bans.strike("a", 2, now) is None
            assert stores.bans.strike("b", 1, now) is None
        await until(lambda: one.bans.banned("a", now) and two.bans.banned("a", now))
        assert not one.bans.banned("b", now)
        assert await one.bans.lift("a")
        await until(lambda: not two.bans.banned("a", now))
        assert one.bans.strike("a", 1, now) is None
        await asyncio.sleep(1.2)
        assert not one.bans.banned("a", now), "the lifted one begins anew"
        for stores in (one, two):
            await stores.close()


async def test_bans_survive_a_redis_that_comes_back_empty() -> None:
    with redis_server() as server:
        one = await replica(server)
        now = time.time()
        one.bans.strike("before", 5, now)
        await until(lambda: server.cli("hlen", "sidecar:bans") == "1")
        server.kill()
        await until(lambda: not one.states()["redis"])
        one.bans.strike("during", 5, now)
        assert one.bans.banned("during", now)
        server.start()
        await until(lambda: server.cli("hlen", "sidecar:bans") == "2", 6.0)
        await one.close()


async def test_bans_that_are_over_and_foreign_words_are_not_learned() -> None:
    with redis_server() as server:
        server.cli(
            "hset",
            "sidecar:bans",
            "over",
            '[1.0,"strikes",1]',
            "odd",
            "{",
            "stands",
            f'[{time.time() + 99},"x",1]',
            *("list", f'[{time.time() + 98},["x",[],1],1]', "short", f'[{time.time() + 98},["x"],1]'),
        )
        one = await replica(server)
        assert [ban.subject for ban in await one.bans.list(time.time())] == ["stands"]
        assert server.cli("hkeys", "sidecar:bans") == "stands"
        await one.close()
