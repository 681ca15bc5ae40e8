"""Sessions and conversations: one suite for memory and a real Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.secret import Secret
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.interfaces import Erased, SessionsFound, SessionStore
from sidecar.stores.memory_sessions import PER_SESSION, MemorySessionStore
from sidecar.stores.redis_connection import RedisConnection
from sidecar.stores.redis_sessions import RedisSessionStore
from sidecar.stores.redis_urls import connector, parse_redis_url
from tests.support.redis import RedisServer, redis_server

NOW = time.time()
HOUR = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[SessionStore]:
    if request.param == "memory":
        yield MemorySessionStore(per_client=3)
        return
    server.cli("flushall")
    line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
    yield RedisSessionStore(line, per_client=3)
    await line.close()


def session(name: str, client: str = "203.0.113.9", organization: str = "acme", life: float = 24 * HOUR) -> Session:
    expires = NOW + life if life else 0.0
    return Session(key_of(name), organization, NOW, NOW, "203.0.113.0/24", client, expires)


async def found(store: SessionStore, name: str, now: float = NOW) -> bool:
    return await store.get(key_of(name), seal_of(name), now) is not None


async def test_what_was_stored_comes_back_and_what_was_not_does_not(store: SessionStore) -> None:
    await store.create(session("one"), seal_of("one"), HOUR)
    assert await store.get(key_of("one"), seal_of("one"), NOW) == session("one")
    assert await store.get(key_of("two"), seal_of("two"), NOW) is None
    assert await store.count(NOW) == 1


async def test_touch_keeps_it_alive_but_not_beyond_its_end(store: SessionStore) -> None:
    await store.create(session("one", life=1000.0), seal_of("one"), HOUR)
    await store.touch(key_of("one"), NOW + 10, HOUR)
    assert await store.get(key_of("one"), seal_of("one"), NOW + 10) == replace(
        session("one", life=1000.0), seen=NOW + 10
    )
    assert not await found(store, "one", NOW + 1000)


async def test_touching_what_is_gone_brings_nothing_back(store: SessionStore) -> None:
    await store.touch(key_of("never"), NOW, HOUR)
    assert not await found(store, "never")
    await store.create(session("one", life=10.0), seal_of("one"), HOUR)
    await store.touch(key_of("one"), NOW + 10, HOUR)
    assert not await found(store, "one", NOW + 10)


async def test_a_deleted_session_is_gone_and_its_conversations_stay_its_own(store: SessionStore) -> None:
    await store.create(session("one"), seal_of("one"), HOUR)
    await store.own("thread", key_of("one"), HOUR, NOW)
    assert await store.delete(key_of("one"))
    assert not await store.delete(key_of("one"))
    assert not await found(store, "one")
    assert await store.own("thread", key_of("two"), HOUR, NOW) == key_of("one")


async def test_the_oldest_session_of_a_client_ends_for_a_new_one(store: SessionStore) -> None:
    for number in range(3):
        assert (
            await store.create(replace(session(f"{number}"), expires=NOW + 1000 + number), seal_of(f"{number}"), HOUR)
            == 0
        )
    await store.create(session("elsewhere", client="198.51.100.7"), seal_of("elsewhere"), HOUR)
    assert await store.create(session("fourth"), seal_of("fourth"), HOUR) == 1
    assert [await found(store, name) for name in ("0", "1", "2", "fourth", "elsewhere")] == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert await store.count(NOW) == 4


async def test_a_reloaded_bound_counts_from_the_next_session_on(store: SessionStore) -> None:
    store.bound(1)
    for number in (1, 2):
        await store.create(session(f"id-{number}"), seal_of(f"id-{number}"), HOUR)
    assert await store.count(NOW) == 1


async def test_a_conversation_belongs_to_the_first(store: SessionStore) -> None:
    one, two = key_of("one"), key_of("two")
    assert await store.owner("thread", NOW) is None
    assert await store.own("thread", one, HOUR, NOW) == one
    assert await store.own("thread", two, HOUR, NOW) == one
    assert await store.own("thread", one, HOUR, NOW + 1) == one
    assert await store.owner("thread", NOW) == one


async def test_a_rotated_id_keeps_its_conversations(store: SessionStore) -> None:
    one, two = key_of("one"), key_of("two")
    for name in ("a", "b"):
        await store.own(name, one, HOUR, NOW)
    assert await store.move(one, two, NOW) == 2
    assert await store.move(one, two, NOW) == 0
    assert [await store.owner(name, NOW) for name in ("a", "b")] == [two, two]
    assert await store.own("a", one, HOUR, NOW) == two
    assert await store.erase("session", two) == Erased(0, 2)


async def test_one_session_cannot_push_out_anothers_conversations(store: SessionStore) -> None:
    await store.own("theirs", key_of("quiet"), HOUR, NOW)
    for number in range(PER_SESSION + 3):
        await store.own(f"mine-{number:04}", key_of("greedy"), HOUR + number, NOW)
    assert await store.owner("theirs", NOW) == key_of("quiet")
    assert await store.owner("mine-0002", NOW) is None
    assert await store.owner("mine-0003", NOW) == key_of("greedy")


@pytest.mark.parametrize(
    ("kind", "subject", "erased", "left"),
    [
        ("session", key_of("one"), Erased(1, 1), [False, True, True]),
        ("ip", "203.0.113.9", Erased(2, 1), [False, False, True]),
        ("organization", "globex", Erased(1, 0), [True, True, False]),
        ("ip", "192.0.2.1", Erased(), [True, True, True]),
        ("planet", "203.0.113.9", Erased(), [True, True, True]),
    ],
)
async def test_erasure_counts_what_it_deleted(
    store: SessionStore, kind: str, subject: str, erased: Erased, left: list[bool]
) -> None:
    for made in (session("one"), session("two"), session("three", "198.51.100.7", "globex")):
        name = {key_of(name): name for name in ("one", "two", "three")}[made.key]
        await store.create(made, seal_of(name), HOUR)
    await store.own("thread", key_of("one"), HOUR, NOW)
    assert await store.erase(kind, subject) == erased
    assert [await found(store, name) for name in ("one", "two", "three")] == left
    assert await store.erase(kind, subject) == Erased()


async def test_cleanup_counts_what_expired(store: SessionStore) -> None:
    await store.create(session("short", life=100.0), seal_of("short"), 50.0)
    await store.create(session("long"), seal_of("long"), HOUR)
    assert await store.cleanup(NOW + 10) == 0
    assert await store.cleanup(NOW + 60) == 1
    assert await store.cleanup(NOW + 60) == 0
    assert await store.count(NOW + 60) == 1


class TestRedisAlone:
    async def test_a_reader_of_redis_learns_nothing_and_forges_nothing(self, server: RedisServer) -> None:
        server.cli("flushall")
        line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
        store = RedisSessionStore(line)
        await store.create(session("one", organization="top-secret-org"), seal_of("one"), HOUR)
        name = f"sidecar:s:{key_of('one')}"
        ((data,),) = await line.submit([("HMGET", name, "d")])
        assert b"top-secret-org" not in data
        assert b"203.0.113" not in data
        assert await store.get(key_of("one"), seal_of("two"), NOW) is None, "another seal"
        await line.submit([("COPY", name, f"sidecar:s:{key_of('two')}")])
        assert await store.get(key_of("two"), seal_of("one"), NOW) is None, "moved to another key"
        await line.submit([("HSET", name, "d", data[:-1] + bytes([data[-1] ^ 1]))])
        assert await store.get(key_of("one"), seal_of("one"), NOW) is None, "changed"
        await line.submit([("HSET", name, "d", b"short")])
        assert await store.get(key_of("one"), seal_of("one"), NOW) is None, "cut"
        await line.close()

    async def test_everything_expires(self, server: RedisServer) -> None:
        server.cli("flushall")
        line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
        store = RedisSessionStore(line)
        await store.create(session("one"), seal_of("one"), HOUR)
        await store.own("thread", key_of("one"), HOUR, NOW)
        forever = [key for key in server.cli("keys", "*").split() if server.cli("ttl", key) == "-1"]
        assert forever == ["sidecar:sessions"], "which holds names and ends only, and is cleaned"
        await line.close()

    async def test_loss_is_told_within_one_timeout(self) -> None:
        with redis_server() as server:
            line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 0.2), 0.2)
            store = RedisSessionStore(line)
            server.kill()
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await store.get(key_of("one"), seal_of("one"), NOW)
            assert time.monotonic() - began < 0.45
            await line.close()


async def test_memory_is_bounded() -> None:
    store = MemorySessionStore(max_sessions=10, per_client=100, max_conversations=20)
    for number in range(100):
        await store.create(session(f"{number}", client=f"c{number}"), seal_of(f"{number}"), HOUR)
        await store.own(f"thread-{number}", key_of(f"{number}"), HOUR, NOW)
    assert await store.count(NOW) == 10
    assert len(store._clients) == 10
    assert len(store._owned) == 20
    assert await found(store, "99")


async def test_a_search_by_the_beginning_of_a_key(store: SessionStore) -> None:
    for number in range(30):
        await store.create(session(f"session {number}", client=f"client {number}"), seal_of(f"session {number}"), HOUR)
    await store.create(session("other", organization="other"), seal_of("other"), HOUR)
    key = key_of("session 7")
    for prefix in (key[:8], key):
        found = await store.search(prefix, None, NOW, 5)
        (facts,) = found.sessions
        assert (facts.key, facts.organization, facts.seen, found.complete) == (key, "acme", NOW, True)
        assert facts.until == pytest.approx(NOW + HOUR, abs=5)
        assert (await store.search(prefix, "acme", NOW, 5)).sessions[0].key == key
        assert (await store.search(prefix, "other", NOW, 5)).sessions == ()
    assert await store.search("00000000", None, NOW, 5) == SessionsFound(())
    await store.delete(key)
    assert (await store.search(key[:8], None, NOW, 5)).sessions == ()


async def test_more_are_found_than_asked_for(store: SessionStore) -> None:
    for last in "abc":
        made = replace(session("x"), key="c0ffee11" + last * 56)
        await store.create(made, seal_of("x"), HOUR)
    found = await store.search("c0ffee11", None, NOW, 2)
    assert (len(found.sessions), found.complete) == (2, False)


async def test_sessions_of_an_organization_a_part_at_a_time(store: SessionStore) -> None:
    for number in range(7):
        await store.create(session(f"s{number}", client=f"c{number}"), seal_of(f"s{number}"), HOUR)
    await store.create(session("other", organization="other"), seal_of("other"), HOUR)
    assert (await store.counts("acme", NOW, 5)) == {"acme": 7}
    assert await store.counts(None, NOW, 5) == {"acme": 7, "other": 1}
    assert await store.counts(None, NOW, 1) == {"acme": 7}
    ended = []
    more = True
    while more:
        found = await store.some("acme", NOW, 3)
        for each in found.sessions:
            assert await store.delete(each.key, "acme")
            ended.append(each.key)
        more = not found.complete
    assert sorted(ended) == sorted(key_of(f"s{number}") for number in range(7))
    assert (await store.counts("acme", NOW, 5), await store.count(NOW)) == ({"acme": 0}, 1)


async def test_an_organization_is_listed_until_its_last_session_ends(store: SessionStore) -> None:
    assert await store.counts(None, NOW, 5) == {}
    await store.create(session("long", client="a"), seal_of("long"), HOUR)
    await store.create(session("short", client="b", life=HOUR), seal_of("short"), HOUR)
    await store.create(session("other", client="c", organization="other", life=HOUR), seal_of("other"), HOUR)
    assert list(await store.counts(None, NOW + 1, 5)) == ["acme", "other"]
    if isinstance(store, RedisSessionStore):  # memory forgets by its cleanup, which counts the time that has passed
        assert list(await store.counts(None, NOW + 2 * HOUR, 5)) == ["acme"]


async def test_beyond_so_many_organizations_one_is_not_known(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.stores.redis_sessions.NAMED", 2)
    server.cli("flushall")
    line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
    store = RedisSessionStore(line)
    for number in range(3):
        made = session(f"s{number}", organization=f"org-{number}", life=(3 - number) * HOUR)
        await store.create(made, seal_of(f"s{number}"), HOUR)
    key = key_of("s0")
    assert (await store.search(key[:8], None, NOW, 5)).sessions[0].organization == ""
    assert (await store.search(key, "org-0", NOW, 5)).sessions[0].organization == "org-0"
    assert (await store.search(key, "org-1", NOW, 5)).sessions == ()
    await line.close()
