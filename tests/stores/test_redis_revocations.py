"""Revocations travel between replicas, and wait for a Redis that is away."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.clock import SystemClock
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.secret import Secret
from sidecar.stores import redis_revocations
from sidecar.stores.factory import Stores, open_stores
from sidecar.stores.redis_revocations import read
from tests.stores.test_redis_bans import until
from tests.support.exchanges import Recorder
from tests.support.redis import RedisServer, redis_server

SESSION = Revoked(SubjectKind.SESSION, "f" * 64, Cause.ENDED, "acme")
ORGANIZATION = Revoked(SubjectKind.ORGANIZATION, "größe \ud800", Cause.ERASED)


async def replica(server: RedisServer, heard: list[Revoked]) -> Stores:
    stores = open_stores(Secret(server.url), clock=SystemClock(), events=Recorder())
    stores.revoked = heard.append
    await stores.start()
    return stores


async def test_what_one_revokes_the_others_hear_once_and_a_late_one_not() -> None:
    with redis_server() as server:
        heard: list[list[Revoked]] = [[], [], []]
        one, two = await replica(server, heard[0]), await replica(server, heard[1])
        one.revoke(SESSION)
        assert heard[0] == [SESSION]
        await until(lambda: heard[1] == [SESSION], 1.0)
        late = await replica(server, heard[2])
        two.revoke(ORGANIZATION)
        await until(lambda: heard[0] == [SESSION, ORGANIZATION] and heard[2] == [ORGANIZATION], 1.0)
        await asyncio.sleep(0.7)
        assert heard == [[SESSION, ORGANIZATION], [SESSION, ORGANIZATION], [ORGANIZATION]]
        for stores in (one, two, late):
            await stores.close()


async def test_what_was_revoked_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_revocations, "KEPT", 300)
    with redis_server() as server:
        heard: list[Revoked] = []
        stores = await replica(server, heard)
        for _ in range(4):
            stores.revoke(SESSION)
            await asyncio.sleep(0.25)
            assert int(server.cli("xlen", "sidecar:revocations")) in (1, 2)  # older ones are dropped
        await until(lambda: server.cli("exists", "sidecar:revocations") == "0")
        await stores.close()


async def test_a_revocation_waits_for_redis_and_a_ban_is_told_as_one() -> None:
    with redis_server() as server:
        heard: list[list[Revoked]] = [[], []]
        one, two = await replica(server, heard[0]), await replica(server, heard[1])
        server.kill()
        await until(lambda: not any(one.states().values()) and not any(two.states().values()))
        one.revoke(SESSION)
        await one.bans.ban("203.0.113.9", SystemClock().now() + 60, "by hand")
        banned = Revoked(SubjectKind.IP, "203.0.113.9", Cause.BANNED)
        assert heard == [[SESSION, banned], []]
        server.start()
        await until(lambda: set(heard[1]) == {SESSION, banned}, 10.0)
        for stores in (one, two):
            await stores.close()


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="empty"),
        pytest.param([b"k", b"planet", b"n", b"x", b"c", b"ended", b"o", b"", b"r", b"1"], id="unknown kind"),
        pytest.param([b"k", b"ip", b"n"], id="odd"),
        pytest.param([b"k", b"ip", b"n", b"\xff", b"c", b"ended", b"o", b"", b"r", b"1"], id="no text"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_no_replica_writes_is_left_out(values: object) -> None:
    assert read(values) is None
