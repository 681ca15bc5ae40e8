"""The session endpoint: begin, renew, end; and sessions that a backend makes."""

from __future__ import annotations

import asyncio
import re

import orjson
import pytest

from sidecar.decision import Answer, Finding, Refuse
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Client
from sidecar.guards.sessions.session import UNAVAILABLE, Binding, expiry_of
from sidecar.guards.sessions.session_endpoint import CookieRule, SessionEndpoint, learn
from sidecar.guards.sessions.session_id import SessionIdSources, is_well_formed
from sidecar.session import key_of, seal_of
from sidecar.stores.memory_sessions import MemorySessionStore
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import exchange

NOW = 1_800_000_000.0
CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
FAR = Client("198.51.100.7", "198.51.100.7", "198.51.100.0/24")
PLACES = SessionIdSources((b"x-session-id",), (b"__Host-session",), ())


class Random:
    """Different bytes each time, the same in each run."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return bytes([self.count]) * size


def endpoint(store, places=PLACES, binding=Binding.PREFIX) -> SessionEndpoint:
    return SessionEndpoint(store, places, Random(), max_age=86400, idle=3600, binding=binding)


def asking(method="POST", session_id="", client=CLIENT, at=0.0, organization="default"):
    asked = exchange(method, "/api/session", client=client, now=NOW + at)
    asked.organization = organization
    if session_id:
        asked.session_id, asked.session_key = session_id, key_of(session_id)
    return asked


async def begin(made, **given) -> tuple[Answer, str]:
    answer = await made.check(asking(**given))
    assert isinstance(answer, Answer)
    return answer, orjson.loads(answer.body)["sessionId"]


async def test_a_session_begins() -> None:
    store = MemorySessionStore()
    asked = asking()
    answer = await endpoint(store).check(asked)
    assert isinstance(answer, Answer)
    assert answer.status == 201
    body = orjson.loads(answer.body)
    session_id = body["sessionId"]
    assert is_well_formed(session_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\.[0-9a-f]+", session_id)
    assert body["expiresAt"] == "2027-01-16T08:00:00.000Z"
    assert answer.fields == [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"no-store"),
        (b"X-Session-ID", session_id.encode()),
        (
            b"Set-Cookie",
            b"__Host-session=%s; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax" % session_id.encode(),
        ),
    ]
    assert answer.findings == (Finding(Event.SESSION_CREATED, {"renewed": False}),)
    assert asked.session is not None
    assert asked.session_key == key_of(session_id)
    found = await store.get(key_of(session_id), seal_of(session_id), NOW)
    assert found == asked.session
    assert (found.organization, found.network, found.client) == ("default", "203.0.113.0/24", "203.0.113.9")
    assert found.expires == NOW + 86400


async def test_without_a_cookie_place_there_is_no_cookie() -> None:
    answer, _ = await begin(endpoint(MemorySessionStore(), SessionIdSources((b"x-session-id",))))
    assert not any(name == b"Set-Cookie" for name, _ in answer.fields)


async def test_a_strict_session_holds_the_address() -> None:
    store = MemorySessionStore()
    _, session_id = await begin(endpoint(store, binding=Binding.STRICT))
    session = await store.get(key_of(session_id), seal_of(session_id), NOW)
    assert session is not None
    assert session.network == "203.0.113.9"


async def test_ids_never_repeat() -> None:
    made = endpoint(MemorySessionStore())
    assert len({(await begin(made))[1] for _ in range(20)}) == 20


async def test_renewing_kills_the_old_id_and_keeps_end_and_conversations() -> None:
    store = MemorySessionStore()
    made = endpoint(store)
    _, old = await begin(made)
    await store.own("conversation", key_of(old), 3600, NOW)
    answer, new = await begin(made, session_id=old, at=100.0)
    assert new != old
    assert answer.findings == (Finding(Event.SESSION_CREATED, {"renewed": True}),)
    assert await store.get(key_of(old), seal_of(old), NOW + 100) is None
    session = await store.get(key_of(new), seal_of(new), NOW + 100)
    assert session is not None
    assert (session.created, session.expires) == (NOW, NOW + 86400)
    assert await store.owner("conversation", NOW + 100) == key_of(new)


class Slow(MemorySessionStore):
    """A store that gives every caller its turn between two questions, as one across the network does."""

    async def create(self, session, seal, ttl):
        await asyncio.sleep(0)
        return await super().create(session, seal, ttl)


async def test_one_id_is_renewed_once_however_many_ask_at_the_same_time() -> None:
    store = Slow()
    made = endpoint(store)
    _, old = await begin(made)
    await store.own("conversation", key_of(old), 3600, NOW)
    begun = await asyncio.gather(*(begin(made, session_id=old) for _ in range(8)))
    renewed = [session_id for answer, session_id in begun if answer.findings[0].detail == {"renewed": True}]
    assert len(renewed) == 1
    assert await store.owner("conversation", NOW) == key_of(renewed[0])


NOT_RENEWED = {
    "an invented id": {"session_id": "A" * 43},
    "from another network": {"client": FAR},
    "for another organization": {"organization": "acme"},
    "too late": {"at": 3600.0},
}


@pytest.mark.parametrize("given", NOT_RENEWED.values(), ids=NOT_RENEWED)
async def test_what_is_not_ones_own_is_not_renewed(given) -> None:
    store = MemorySessionStore()
    made = endpoint(store)
    _, old = await begin(made)
    await store.own("conversation", key_of(old), 3600, NOW)
    answer, new = await begin(made, **({"session_id": old} | given))
    assert answer.findings[0].detail == {"renewed": False}
    assert await store.owner("conversation", NOW) == key_of(old)
    assert new != given.get("session_id")  # no fixation: an id is never taken over from a client


async def test_a_session_ends_and_does_not_come_back() -> None:
    store = MemorySessionStore()
    made = endpoint(store)
    _, session_id = await begin(made)
    answer = await made.check(asking("DELETE", session_id))
    assert isinstance(answer, Answer)
    assert answer.status == 204
    assert answer.fields == [
        (b"Cache-Control", b"no-store"),
        (b"Set-Cookie", b"__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"),
    ]
    assert answer.findings == (Finding(Event.SESSION_CLEANUP, {"reason": "logout", "sessions": 1}),)
    assert await store.get(key_of(session_id), seal_of(session_id), NOW) is None
    again = await made.check(asking("DELETE", session_id))
    assert isinstance(again, Answer)
    assert (again.status, again.findings) == (204, ())
    assert (await made.check(asking("DELETE"))).status == 204


async def test_too_many_of_one_client() -> None:
    store = MemorySessionStore(per_client=2)
    made = endpoint(store)
    for _ in range(2):
        await begin(made)
    answer, _ = await begin(made)
    assert answer.findings[1] == Finding(Event.SESSION_CLEANUP, {"reason": "too many of one client", "sessions": 1})


async def test_other_methods() -> None:
    assert await endpoint(MemorySessionStore()).check(asking("GET")) == Refuse(
        Code.METHOD_NOT_ALLOWED, {}, [(b"Allow", b"POST, DELETE")]
    )


class Lost(MemorySessionStore):
    async def create(self, session, seal, ttl):
        raise StoreUnavailable("gone")

    async def delete(self, key):
        raise StoreUnavailable("gone")


async def test_a_store_that_is_away() -> None:
    made = endpoint(Lost())
    assert await made.check(asking()) == UNAVAILABLE
    assert await made.check(asking("DELETE", "A" * 43)) == UNAVAILABLE


LEARNED = "c0ffee" * 8


async def learnt(store, session_id=LEARNED, presented=""):
    return await learn(
        asking(session_id=presented), session_id, store, max_age=86400, idle=3600, binding=Binding.PREFIX
    )


async def test_a_session_of_the_backend_is_learned_once() -> None:
    store = MemorySessionStore()
    assert await learnt(store) == Finding(Event.SESSION_CREATED, {"learned": True})
    assert await learnt(store) is None
    session = await store.get(key_of(LEARNED), seal_of(LEARNED), NOW)
    assert session is not None
    assert session.network == "203.0.113.0/24"


async def test_what_is_not_learned() -> None:
    store = MemorySessionStore()
    assert await learnt(store, "short") is None
    # What the backend merely repeats may be the client's invention.
    assert await learnt(store, LEARNED, presented=LEARNED) is None
    assert await store.count(NOW) == 0


@pytest.mark.parametrize(
    ("session_id", "expected"),
    [("x.0", 0), ("x.ffffffff", 0xFFFFFFFF), ("x", None), ("x.zz", None), ("x.-1", -1), ("", None)],
)
def test_ids_that_say_when_they_end(session_id, expected) -> None:
    assert expiry_of(session_id) == expected


@pytest.mark.parametrize(("revoked", "more"), [(True, {}), (False, {"handles_revoked": False})], ids=["told", "away"])
async def test_what_hangs_on_a_session_ends_with_it(revoked, more) -> None:
    told = []

    async def ended(organization: str, key: str) -> bool:
        told.append((organization, key))
        return revoked

    store = MemorySessionStore()
    made = SessionEndpoint(store, PLACES, Random(), max_age=86400, idle=3600, binding=Binding.PREFIX, ended=ended)
    _, session_id = await begin(made)
    await begin(made, session_id=session_id)  # renewing ends nothing that runs
    assert told == []
    _, session_id = await begin(made)
    answer = await made.check(asking("DELETE", session_id))
    assert isinstance(answer, Answer)
    assert answer.findings == (Finding(Event.SESSION_CLEANUP, {"reason": "logout", "sessions": 1} | more),)
    assert told == [("default", key_of(session_id))]
    await made.check(asking("DELETE", session_id))
    assert len(told) == 1


def test_the_cookies_attributes() -> None:
    assert CookieRule(b"None", partitioned=True).line(b"__Host-session", "x", 60) == (
        b"__Host-session=x; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=None; Partitioned"
    )
