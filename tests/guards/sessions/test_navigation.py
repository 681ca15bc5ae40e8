"""A page that knows nothing of sessions gets one when it loads."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS, Pass
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Client
from sidecar.guards.sessions.navigation import NavigationSession, is_navigation
from sidecar.guards.sessions.session import UNAVAILABLE, Binding
from sidecar.guards.sessions.session_endpoint import CookieRule
from sidecar.stores.memory_sessions import MemorySessionStore
from sidecar.vocabulary import Event
from tests.support.exchanges import exchange

CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
PAGE = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document", "accept": "text/html,*/*;q=0.8"}


class Gone(MemorySessionStore):
    async def create(self, *_: object) -> int:
        raise StoreUnavailable("gone")


def guard(store=None, rule=None, *, required=False) -> NavigationSession:
    return NavigationSession(
        store or MemorySessionStore(),
        (b"__Host-session",),
        rule or CookieRule(),
        lambda size: b"\7" * size,
        max_age=3600.0,
        idle=3600.0,
        binding=Binding.PREFIX,
        required=required,
    )


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        pytest.param("GET", PAGE, True, id="a tab"),
        pytest.param("GET", PAGE | {"sec_fetch_dest": "iframe"}, True, id="a frame"),
        pytest.param("GET", {"sec_fetch_mode": "navigate"}, True, id="no word of where to"),
        pytest.param("POST", PAGE, False, id="a form"),
        pytest.param("HEAD", PAGE, False, id="no page"),
        pytest.param("GET", {}, False, id="a program"),
        pytest.param("GET", PAGE | {"sec_fetch_mode": "cors"}, False, id="a script's request"),
        pytest.param("GET", PAGE | {"sec_fetch_dest": "image"}, False, id="an image"),
        pytest.param("GET", PAGE | {"accept": "application/json"}, False, id="no HTML wanted"),
        pytest.param("GET", PAGE | {"upgrade": "websocket"}, False, id="a socket"),
    ],
)
def test_what_a_navigation_is(method, fields, expected) -> None:
    assert is_navigation(exchange(method, **fields)) is expected


async def test_a_navigation_gets_a_session_and_its_cookie() -> None:
    store = MemorySessionStore()
    asked = exchange(client=CLIENT, **PAGE)
    found = await guard(store).check(asked)
    assert isinstance(found, Pass)
    assert [finding.event for finding in found.findings] == [Event.SESSION_CREATED]
    assert asked.session is not None
    assert asked.notes["Set-Cookie"] == (
        f"__Host-session={asked.session_id}; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax"
    )
    assert asked.notes["Cache-Control"] == "private"
    assert await store.count(asked.now) == 1
    assert guard(store).check(asked) is PASS  # it has one now


async def test_other_requests_get_none() -> None:
    asked = exchange(client=CLIENT)
    assert guard().check(asked) is PASS
    assert (asked.session, asked.notes) == (None, {})


@pytest.mark.parametrize(("rule", "kept"), [(CookieRule(), False), (CookieRule(b"None", True), True)])
async def test_in_a_frame_of_another_site_only_a_cookie_that_is_kept_there(rule, kept) -> None:
    asked = exchange(client=CLIENT, **PAGE | {"sec_fetch_dest": "iframe", "sec_fetch_site": "cross-site"})
    decision = guard(rule=rule).check(asked)
    if decision is not PASS:
        await decision
    assert (asked.session is not None) is kept


@pytest.mark.parametrize(("required", "expected"), [(True, UNAVAILABLE), (False, PASS)])
async def test_without_a_store(required, expected) -> None:
    assert await guard(Gone(), required=required).check(exchange(client=CLIENT, **PAGE)) is expected
