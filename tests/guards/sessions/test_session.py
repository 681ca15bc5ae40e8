"""Sessions of requests: which id is presented, whether it lives, and from where it may be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.decision import KEEP, PASS, Finding, Keep, Pass, Refuse
from sidecar.errors import Problems, StoreUnavailable
from sidecar.exchange import Client
from sidecar.guards.sessions.session import Binding, BodySessionGuard, Need, SessionGuard, loads_page
from sidecar.guards.sessions.session_id import (
    SessionIdGuard,
    SessionIdSources,
    build_session_id_sources,
    is_well_formed,
    presented,
    without,
)
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.memory_sessions import MemorySessionStore
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import exchange, said

NOW = 1_800_000_000.0
CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
NEAR = replace(CLIENT, address="203.0.113.77", subject="203.0.113.77")
FAR = Client("198.51.100.7", "198.51.100.7", "198.51.100.0/24")
GOOD = "A" * 43
OTHER = "B" * 43
PLACES = SessionIdSources((b"x-session-id",), (b"__Host-session",), ("$.sessionId",))

SHAPES = {
    "43 of base64url": (GOOD, True),
    "ours": (GOOD + ".6b49d200", True),
    "22 of base64url": ("Aa1_-Zz9Aa1_-Zz9Aa1_-Z", True),
    "21 of base64url": ("Aa1_-Zz9Aa1_-Zz9Aa1_-", False),
    "UUID": ("123e4567-e89b-42d3-a456-426614174000", True),
    "32 hex digits": ("0123456789abcdef" * 2, True),
    "32 hex digits and hyphens": ("0123456789abcdef" * 2 + "-" * 4, True),
    "30 hex digits and hyphens": ("0123456789abcdef" + "0123456789abcd" + "-" * 6, False),
    "a word": ("test", False),
    "empty": ("", False),
    "256": ("x" * 256, True),
    "257": ("x" * 257, False),
    "blank": ("A" * 42 + " ", False),
    "line break": (GOOD + "\n", False),
    "NUL": (GOOD + "\x00", False),
    "quote": (GOOD + '"', False),
    "semicolon": (GOOD + ";", False),
    "not ASCII": ("\xe4" * 43, False),
    "Arabic digits": ("\u0661" * 43, False),
    "markup": ("<script>alert(1)</script>", False),
}


@pytest.mark.parametrize(("text", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes(text, expected) -> None:
    assert is_well_formed(text) is expected


FORMAT = "format"
TWO = "two different ids"
HEADS = {
    "none": ({}, ""),
    "header": ({"X_Session_ID": GOOD}, GOOD),
    "cookie": ({"Cookie": f"a=b; __Host-session={GOOD}; c=d"}, GOOD),
    "quoted cookie": ({"Cookie": f'__Host-session="{GOOD}"'}, GOOD),
    "both alike": ({"X_Session_ID": GOOD, "Cookie": f"__Host-session={GOOD}"}, GOOD),
    "both, different": ({"X_Session_ID": GOOD, "Cookie": f"__Host-session={OTHER}"}, (TWO, "cookie")),
    "two cookies": ({"Cookie": f"__Host-session={GOOD}; __Host-session={OTHER}"}, (TWO, "cookie")),
    "two headers": ({"X_Session_ID": f"{GOOD}, {OTHER}"}, (FORMAT, "header")),
    "malformed": ({"X_Session_ID": "test"}, (FORMAT, "header")),
    "malformed cookie": ({"Cookie": "__Host-session=test"}, (FORMAT, "cookie")),
    "empty": ({"X_Session_ID": ""}, ""),
    "a cookie of another name": ({"Cookie": f"__Host-session2={GOOD}; session={GOOD}"}, ""),
    "a name inside a value": ({"Cookie": f"a=__Host-session={GOOD}"}, ""),
    "rubbish": ({"Cookie": ";;=;a"}, ""),
}


@pytest.mark.parametrize(("fields", "expected"), HEADS.values(), ids=HEADS)
def test_what_the_head_presents(fields, expected) -> None:
    asked = exchange(**fields)
    decision = SessionIdGuard(PLACES).check(asked)
    if isinstance(expected, tuple):
        reason, place = expected
        assert decision == Refuse(Code.INVALID_SESSION_ID, {"reason": reason, "place": place})
    else:
        assert decision is PASS
        assert asked.session_id == expected
        assert asked.session_key == (key_of(expected) if expected else "")


def test_cookies_are_read_in_order() -> None:
    assert presented(b"b=2; a=1; b=3; c; =4", [b"a", b"b"]) == [b"2", b"1", b"3"]


def test_places() -> None:
    problems = Problems("sessions.in")
    texts = ["header:X-Session-ID", "cookie:__Host-session", "body:$.sessionId"]
    assert build_session_id_sources(texts, problems) == PLACES
    assert not problems.found


@pytest.mark.parametrize(
    "text", ["", "query:sid", "header:", "header:a b", "cookie:a;b", "body:sessionId", "X-Session-ID"]
)
def test_places_that_are_none(text) -> None:
    problems = Problems("sessions.in")
    build_session_id_sources([text], problems)
    assert [problem.path for problem in problems.found] == ["sessions.in[0]"]


def test_no_place_at_all() -> None:
    problems = Problems("sessions.in")
    build_session_id_sources([], problems)
    assert [problem.path for problem in problems.found] == ["sessions.in"]


class Across:
    """A store across the network: it has no answers at once."""

    def __init__(self) -> None:
        self._inner = MemorySessionStore()

    async def create(self, session, seal, ttl):
        return await self._inner.create(session, seal, ttl)

    async def get(self, key, seal, now):
        return await self._inner.get(key, seal, now)

    async def touch(self, key, seen, ttl):
        await self._inner.touch(key, seen, ttl)


class Lost(Across):
    """A store that is away."""

    async def get(self, key, seal, now):
        raise StoreUnavailable("gone")


class LostAfterwards(Across):
    """A store that reads and does not write."""

    async def touch(self, key, seen, ttl):
        raise StoreUnavailable("gone")


async def stored(store=None, **changes) -> MemorySessionStore:
    store = store or MemorySessionStore()
    plain = Session(key_of(GOOD), "default", NOW, NOW, "203.0.113.0/24", "203.0.113.9", NOW + 86400)
    await store.create(replace(plain, **changes), seal_of(GOOD), 3600)
    return store


def guard(store, need=Need.REQUIRED, binding=Binding.PREFIX, **changes) -> SessionGuard:
    return SessionGuard(store, need, binding=binding, idle=3600, **changes)


def asking(session_id=GOOD, client=CLIENT, at=0.0, method="POST", organization="default", **fields):
    body = {"Content_Length": "2"} if method == "POST" else {}
    asked = exchange(method, client=client, now=NOW + at, **(body | fields))
    asked.organization = organization
    if session_id:
        asked.session_id, asked.session_key = session_id, key_of(session_id)
    return asked


def refused(reason, event=None, **more) -> Refuse:
    return Refuse(Code.INVALID_SESSION_ID, {"reason": reason, **more}, event=event)


MOVED = refused("network", Event.SESSION_NETWORK_CHANGED, binding="prefix")
CASES = {
    # (need, what is asked, decision)
    "live": (Need.REQUIRED, {}, PASS),
    "missing": (Need.REQUIRED, {"session_id": ""}, refused("missing")),
    "missing, optional": (Need.OPTIONAL, {"session_id": ""}, PASS),
    "missing, none": (Need.NONE, {"session_id": ""}, PASS),
    "forged": (Need.REQUIRED, {"session_id": OTHER}, refused("unknown")),
    "forged, optional": (Need.OPTIONAL, {"session_id": OTHER}, refused("unknown")),
    "forged, none": (Need.NONE, {"session_id": OTHER}, PASS),
    "idle too long": (Need.REQUIRED, {"at": 3600.0}, refused("unknown")),
    "its time is over": (
        Need.REQUIRED,
        {"session_id": f"{OTHER}.{int(NOW):x}", "at": 1.0},
        refused("expired", Event.SESSION_EXPIRED),
    ),
    "an id that says it is young": (Need.REQUIRED, {"session_id": f"{OTHER}.{int(NOW) + 9:x}"}, refused("unknown")),
    "an id with an odd end": (Need.REQUIRED, {"session_id": f"{OTHER}.zz"}, refused("unknown")),
    "of another organization": (Need.REQUIRED, {"organization": "acme"}, refused("organization")),
    "a neighbour": (Need.REQUIRED, {"client": NEAR}, PASS),
    "stolen": (Need.REQUIRED, {"client": FAR}, MOVED),
    "stolen, optional": (Need.OPTIONAL, {"client": FAR}, MOVED),
}


@pytest.mark.parametrize(("need", "given", "expected"), CASES.values(), ids=CASES)
async def test_sessions(need, given, expected) -> None:
    asked = asking(**given)
    decision = await said(guard(await stored(), need).check(asked))
    assert decision == expected
    lives = decision is PASS and need is not Need.NONE and asked.session_key != ""
    assert (asked.session is not None) is lives


NOTED = Pass((Finding(Event.SESSION_NETWORK_CHANGED, {"binding": "log"}),))
STRICT = refused("network", Event.SESSION_NETWORK_CHANGED, binding="strict")
BINDINGS = {
    # (binding, what the session holds, who asks, decision)
    "off": (Binding.OFF, "203.0.113.0/24", FAR, PASS),
    "log, moved": (Binding.LOG, "203.0.113.0/24", FAR, NOTED),
    "log, at home": (Binding.LOG, "203.0.113.0/24", CLIENT, PASS),
    "prefix, neighbour": (Binding.PREFIX, "203.0.113.0/24", NEAR, PASS),
    "prefix, moved": (Binding.PREFIX, "203.0.113.0/24", FAR, MOVED),
    "prefix, made under strict": (Binding.PREFIX, "203.0.113.9", CLIENT, PASS),
    "strict, at home": (Binding.STRICT, "203.0.113.9", CLIENT, PASS),
    "strict, neighbour": (Binding.STRICT, "203.0.113.9", NEAR, STRICT),
    "strict, made under prefix": (Binding.STRICT, "203.0.113.0/24", CLIENT, STRICT),
}


@pytest.mark.parametrize(("binding", "network", "client", "expected"), BINDINGS.values(), ids=BINDINGS)
async def test_bindings(binding, network, client, expected) -> None:
    store = await stored(network=network)
    assert await said(guard(store, binding=binding).check(asking(client=client))) == expected


async def test_use_keeps_a_session_alive_until_its_own_end() -> None:
    store = await stored(expires=NOW + 7200)
    made = guard(store)
    for at in (3000.0, 6000.0, 7100.0):
        assert await said(made.check(asking(at=at))) is PASS
    assert await said(made.check(asking(at=7200.0))) == refused("unknown")


async def test_a_store_is_not_told_of_every_request() -> None:
    store = await stored()
    made = guard(store)
    await said(made.check(asking(at=59.0)))
    assert (await store.get(key_of(GOOD), seal_of(GOOD), NOW)).seen == NOW
    await said(made.check(asking(at=60.0)))
    assert (await store.get(key_of(GOOD), seal_of(GOOD), NOW)).seen == NOW + 60


async def test_short_idleness_is_noted_in_time() -> None:
    store = MemorySessionStore()
    made = SessionGuard(store, Need.REQUIRED, binding=Binding.PREFIX, idle=60.0)
    session = Session(key_of(GOOD), "default", NOW, NOW, "203.0.113.0/24", "203.0.113.9", NOW + 86400)
    await store.create(session, seal_of(GOOD), 60.0)
    for at in range(20, 400, 20):
        assert await said(made.check(asking(at=float(at)))) is PASS, at
    assert await said(made.check(asking(at=440.0))) == refused("unknown")


async def test_a_store_that_is_away() -> None:
    unavailable = await said(guard(Lost()).check(asking()))
    assert isinstance(unavailable, Refuse)
    assert unavailable.code is Code.OVERLOADED
    assert await said(guard(Lost(), pass_when_unavailable=True).check(asking())) is PASS
    # Who brings no session is told so, whatever the store does.
    assert await said(guard(Lost(), pass_when_unavailable=True).check(asking(""))) == refused("missing")
    assert await said(guard(await stored(LostAfterwards())).check(asking(at=100.0))) is PASS


def body_guard(store, need=Need.REQUIRED, ids=()) -> BodySessionGuard:
    return BodySessionGuard(SessionIdGuard(PLACES), guard(store, need, in_body=True), lambda *_: ids)


async def test_a_session_in_the_body_is_awaited() -> None:
    store = await stored()
    head = guard(store, in_body=True)
    asked = asking("")
    assert await said(head.check(asked)) is PASS
    assert await said(body_guard(store, ids=[GOOD]).inspect(asked, b"{}")) is KEEP
    assert asked.session is not None
    assert asked.session.key == key_of(GOOD)


NO_BODY = {
    "GET": {"method": "GET"},
    "a POST without length": {"method": "PUT"},
    "a POST of length 0": {"Content_Length": "0"},
    "a POST of length 00": {"Content_Length": "00"},
}


@pytest.mark.parametrize("given", NO_BODY.values(), ids=NO_BODY)
async def test_what_has_no_body_is_not_waited_for(given) -> None:
    assert await said(guard(await stored(), in_body=True).check(asking("", **given))) == refused("missing")


async def test_a_chunked_body_is_waited_for() -> None:
    asked = asking("", method="PUT", Transfer_Encoding="chunked")
    assert await said(guard(await stored(), in_body=True).check(asked)) is PASS


PAGES = {
    # (need, method, fields, does it load)
    "a page": (Need.OPTIONAL, "GET", {}, True),
    "its head": (Need.OPTIONAL, "HEAD", {}, True),
    "a message": (Need.OPTIONAL, "POST", {}, False),
    "a deletion": (Need.OPTIONAL, "DELETE", {}, False),
    "a socket": (Need.OPTIONAL, "GET", {"Upgrade": "websocket"}, False),
    "where a session is required": (Need.REQUIRED, "GET", {}, False),
}
BAD = {
    "unknown": ({"session_id": OTHER}, Event.INVALID_SESSION_ID),
    "expired": ({"session_id": f"{OTHER}.{int(NOW):x}"}, Event.SESSION_EXPIRED),
    "moved": ({"client": FAR}, Event.SESSION_NETWORK_CHANGED),
    "of another organization": ({"organization": "acme"}, Event.INVALID_SESSION_ID),
}


@pytest.mark.parametrize(("given", "event"), BAD.values(), ids=BAD)
@pytest.mark.parametrize(("need", "method", "fields", "loads"), PAGES.values(), ids=PAGES)
async def test_pages_load_without_their_bad_session(given, event, need, method, fields, loads) -> None:
    session_id = given.get("session_id", GOOD)
    fields = fields | {"X_Session_ID": session_id, "Cookie": f"a=b; __Host-session={session_id}; c=d"}
    asked = asking(**given, method=method, **fields)
    decision = await said(guard(await stored(), need, ids=SessionIdGuard(PLACES)).check(asked))
    if not loads:
        assert isinstance(decision, Refuse)
        assert asked.head.index[b"x-session-id"] == session_id.encode()
        return
    assert isinstance(decision, Pass)
    assert [finding.event for finding in decision.findings] == [event]
    assert asked.session is None
    assert (asked.session_id, asked.session_key) == ("", "")
    # The backend does not see the id either: a stolen one must not read by GET.
    assert b"x-session-id" not in asked.head.index
    assert asked.head.index[b"cookie"] == b"a=b; c=d"
    assert [line for key, line in asked.head.lines if key in (b"x-session-id", b"cookie")] == [b"Cookie: a=b; c=d"]


async def test_a_page_loads_while_the_store_is_away() -> None:
    asked = asking(method="GET", X_Session_ID=GOOD)
    assert await said(guard(Lost(), Need.OPTIONAL, ids=SessionIdGuard(PLACES)).check(asked)) == Pass()
    assert b"x-session-id" not in asked.head.index


async def test_observing_strips_nothing() -> None:
    asked = asking(OTHER, method="GET", X_Session_ID=OTHER)
    decision = await said(guard(await stored(), Need.OPTIONAL, ids=SessionIdGuard(PLACES, strips=False)).check(asked))
    assert isinstance(decision, Pass)
    assert asked.head.index[b"x-session-id"] == OTHER.encode()


def test_a_malformed_id_is_forgiven_where_pages_load() -> None:
    ids = SessionIdGuard(PLACES, forgives=loads_page)
    page = exchange("GET", Cookie="__Host-session=test")
    detail = {"reason": "format", "place": "cookie", "used": False}
    assert ids.check(page) == Pass((Finding(Event.INVALID_SESSION_ID, detail),))
    assert b"cookie" not in page.head.index
    assert isinstance(ids.check(exchange("POST", Cookie="__Host-session=test")), Refuse)


COOKIES = {
    "alone": (b"sid=x", b""),
    "first": (b"sid=x; a=b", b"a=b"),
    "last": (b"a=b; sid=x", b"a=b"),
    "twice": (b"sid=x; a=b; sid=y", b"a=b"),
    "blanks": (b" sid = x ; a=b", b"a=b"),
    "another name": (b"sid2=x; xsid=y", b"sid2=x; xsid=y"),
    "in a value": (b"a=sid=x", b"a=sid=x"),
}


@pytest.mark.parametrize(("value", "expected"), COOKIES.values(), ids=COOKIES)
def test_cookies_without_one(value, expected) -> None:
    assert without(value, [b"sid"]) == expected


BODIES = {
    # (id of the head, ids of the body, decision)
    "none anywhere": ("", [], refused("missing")),
    "empty in the body": ("", [""], refused("missing")),
    "head alone": (GOOD, [], KEEP),
    "both alike": (GOOD, [GOOD], KEEP),
    "another one's id in the body": (GOOD, [OTHER], refused("two different ids", place="body")),
    "two in the body": ("", [GOOD, OTHER], refused("two different ids", place="body")),
    "malformed": ("", ["test"], refused("format", place="body")),
    "unknown": ("", [OTHER], refused("unknown")),
}


@pytest.mark.parametrize(("head", "ids", "expected"), BODIES.values(), ids=BODIES)
async def test_sessions_in_bodies(head, ids, expected) -> None:
    store = await stored()
    asked = asking(head)
    assert await said(guard(store, in_body=True).check(asked)) is PASS
    assert await said(body_guard(store, ids=ids).inspect(asked, b"{}")) == expected


async def test_findings_of_bodies_are_kept() -> None:
    store = await stored()
    inner = guard(store, binding=Binding.LOG, in_body=True)
    made = BodySessionGuard(SessionIdGuard(PLACES), inner, lambda *_: [GOOD])
    assert await said(made.inspect(asking("", client=FAR), b"{}")) == Keep(NOTED.findings)
