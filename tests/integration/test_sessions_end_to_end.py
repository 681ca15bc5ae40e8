"""Issued sessions over real sockets: in a header, a cookie, a body; and what is tried against them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.backends import Serving, answer
from tests.support.browsers import ELSEWHERE, HOME, NEXT_DOOR, Browser
from tests.support.raw import Message
from tests.support.sidecar import Running, threaded, until

DAY = 86_400.0
ROUTES = [
    {
        "name": "chat",
        "match": {"path": "/api/chat", "methods": ["POST"]},
        "message": {"fields": ["$.message"]},
        "session": "required",
        "rate_limits": [{"name": "burst", "per": "session", "limit": 3, "window": "1m"}],
    },
    {"name": "plain", "match": {"path": "/api/plain"}, "session": "required"},
    {"name": "watched", "match": {"path": "/api/watched"}, "session": "required", "observe": ["session"]},
    {"name": "free", "match": {"path": "/free"}, "session": "none"},
]
INVALID = (400, "INVALID_SESSION_ID")
FORGED = "A" * 43 + ".7fffffff"


def echo(message: Message) -> bytes:
    """Answer with what the backend saw of the session."""
    seen = {name: (message.get(name.encode()) or b"").decode() for name in ("x-session-id", "cookie")}
    return answer(json.dumps(seen).encode(), content_type="application/json")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("sessions")
    with (
        Serving(echo) as backend,
        threaded(folder, backend.url, sessions={"mode": "issue", "idle": "2h"}, routes=ROUTES) as running,
    ):
        yield running


@pytest.fixture
def turned(front: Running) -> Iterator[Callable[[float], None]]:
    """Turn the sidecar's clock while one test runs."""
    assert front.app is not None
    clock = front.app._clock

    def turn(seconds: float) -> None:
        clock.now = lambda: time.time() + seconds  # type: ignore[method-assign]

    yield turn
    clock.now = time.time  # type: ignore[method-assign]


def in_header(browser: Browser, session_id: str, path: str = "/api/plain") -> tuple[int, str]:
    return browser.ask("POST", path, X_Session_ID=session_id).said


def in_cookie(browser: Browser, session_id: str) -> tuple[int, str]:
    return browser.ask("POST", "/api/plain", Cookie=f"theme=dark; __Host-session={session_id}").said


def in_body(browser: Browser, session_id: str) -> tuple[int, str]:
    return browser.ask("POST", "/api/chat", {"message": "hi", "sessionId": session_id}).said


WAYS = {"header": in_header, "cookie": in_cookie, "body": in_body}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_session_speaks(front: Running, way) -> None:
    session_id = Browser(front).session()
    assert way(Browser(front), session_id) == (200, "")
    assert way(Browser(front, NEXT_DOOR), session_id) == (200, "")


def fixation(front: Running) -> tuple[int, str]:
    """An attacker plants an invented id; the page asks for a session: it gets another one."""
    victim = Browser(front)
    planted = victim.ask("POST", "/api/session", X_Session_ID=FORGED).json()["sessionId"]
    assert planted != FORGED
    return in_header(Browser(front), FORGED)


def planted_session(front: Running) -> tuple[int, str]:
    """The attacker plants a real one: it is bound to the attacker's network, and refused in the victim's."""
    return in_header(Browser(front), Browser(front, ELSEWHERE).session())


def replay(front: Running) -> tuple[int, str]:
    browser = Browser(front)
    session_id = browser.session()
    assert browser.ask("DELETE", "/api/session").status == 204
    assert browser.cookies == {}
    return in_header(browser, session_id)


def renewed(front: Running) -> tuple[int, str]:
    browser = Browser(front)
    old, new = browser.session(), browser.session()
    assert in_header(Browser(front), new) == (200, "")
    return in_header(Browser(front), old)


def stolen(front: Running) -> tuple[int, str]:
    return in_header(Browser(front, ELSEWHERE), Browser(front).session())


def taken_over(front: Running) -> tuple[int, str]:
    """A stolen id cannot be exchanged for a fresh one from elsewhere, nor does that end it at home."""
    session_id = Browser(front).session()
    fresh = Browser(front, ELSEWHERE).ask("POST", "/api/session", X_Session_ID=session_id).json()["sessionId"]
    assert in_header(Browser(front), session_id) == (200, "")
    return in_header(Browser(front), fresh)


def two_ids(front: Running) -> tuple[int, str]:
    one, other = Browser(front).session(), Browser(front).session()
    return Browser(front).ask("POST", "/api/chat", {"message": "hi", "sessionId": other}, X_Session_ID=one).said


def on_a_socket(front: Running) -> tuple[int, str]:
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    return Browser(front).ask("GET", "/ws", X_Session_ID=FORGED, Sec_WebSocket_Key=key, **handshake).said


ATTACKS = {
    # (what happens, the answer, the event, its detail)
    "fixation": (fixation, "INVALID_SESSION_ID", "unknown"),
    "a planted session of the attacker": (planted_session, "SESSION_NETWORK_CHANGED", "network"),
    "replay after logout": (replay, "INVALID_SESSION_ID", "unknown"),
    "the id before it was renewed": (renewed, "INVALID_SESSION_ID", "unknown"),
    "forged": (lambda front: in_header(Browser(front), FORGED), "INVALID_SESSION_ID", "unknown"),
    "forged, in a cookie": (lambda front: in_cookie(Browser(front), FORGED), "INVALID_SESSION_ID", "unknown"),
    "forged, in a body": (lambda front: in_body(Browser(front), FORGED), "INVALID_SESSION_ID", "unknown"),
    "forged, for a socket": (on_a_socket, "INVALID_SESSION_ID", "unknown"),
    "malformed": (lambda front: in_header(Browser(front), "../../etc"), "INVALID_SESSION_ID", "format"),
    "none": (lambda front: Browser(front).ask("POST", "/api/plain").said, "INVALID_SESSION_ID", "missing"),
    "none, and no body either": (
        lambda front: Browser(front).ask("POST", "/api/chat").said,
        "INVALID_SESSION_ID",
        "missing",
    ),
    "stolen, used from another network": (stolen, "SESSION_NETWORK_CHANGED", "network"),
    "stolen, renewed from another network": (taken_over, "SESSION_NETWORK_CHANGED", "network"),
    "two ids in one request": (two_ids, "INVALID_SESSION_ID", "two different ids"),
}


@pytest.mark.parametrize(("attack", "event", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_attacks(front: Running, attack, event, reason) -> None:
    told = len(front.lines())
    assert attack(front) == INVALID

    def is_told(line: dict[str, Any]) -> bool:
        return (line["event"], line["outcome"], line["status"]) == (event, "refused", 400)

    until(
        lambda: any(is_told(line) and line["detail"]["reason"] == reason for line in front.lines()[told:]),
        f"{event} in the log",
    )
    assert FORGED not in json.dumps(front.lines())


ENDS = {"in use": (0.0, (200, "")), "idle too long": (7300.0, INVALID), "at its end": (DAY, INVALID)}


@pytest.mark.parametrize(("seconds", "expected"), ENDS.values(), ids=ENDS)
def test_time(front: Running, turned, seconds, expected) -> None:
    session_id = Browser(front).session()
    turned(seconds)
    assert in_header(Browser(front), session_id) == expected
    if seconds >= DAY:
        front.logged(event="SESSION_EXPIRED", outcome="refused", status=400)


def test_use_keeps_it_alive_but_not_for_good(front: Running, turned) -> None:
    session_id = Browser(front).session()
    for hours in range(1, 24):
        turned(hours * 3600.0)
        assert in_header(Browser(front), session_id) == (200, ""), hours
    turned(DAY)
    assert in_header(Browser(front), session_id) == INVALID


PAGES = {
    # (who, method, path, status, does the backend see the id)
    "a page, moved": (ELSEWHERE, "GET", "/", 200, False),
    "a page, at home": (HOME, "GET", "/", 200, True),
    "a change, moved": (ELSEWHERE, "POST", "/save", 400, False),
    "a path that needs one, moved": (ELSEWHERE, "GET", "/api/plain", 400, False),
    "a path that does not look, moved": (ELSEWHERE, "GET", "/free", 200, True),
    "a path that observes, moved": (ELSEWHERE, "POST", "/api/watched", 200, True),
}


@pytest.mark.parametrize(("address", "method", "path", "status", "seen"), PAGES.values(), ids=PAGES)
def test_pages(front: Running, address, method, path, status, seen) -> None:
    session_id = Browser(front).session()
    there = Browser(front, address, {"theme": "dark", "__Host-session": session_id})
    reply = there.ask(method, path, X_Session_ID=session_id)
    assert reply.status == status
    if status == 200:
        cookie = f"theme=dark; __Host-session={session_id}" if seen else "theme=dark"
        assert reply.json() == {"x-session-id": session_id if seen else "", "cookie": cookie}


def test_a_broken_cookie_locks_no_client_out(front: Running) -> None:
    browser = Browser(front, cookies={"__Host-session": "broken"})
    assert browser.ask("GET", "/").status == 200
    assert browser.ask("POST", "/save").said == INVALID
    session_id = browser.session()
    assert browser.cookies == {"__Host-session": session_id}
    assert browser.ask("POST", "/save").status == 200


def test_limits_per_session_in_a_body(front: Running) -> None:
    one, other = Browser(front).session(), Browser(front).session()
    browser = Browser(front)
    assert [in_body(browser, one)[0] for _ in range(4)] == [200, 200, 200, 429]
    assert in_body(browser, other) == (200, "")


def test_the_cookie(front: Running) -> None:
    reply = Browser(front).ask("POST", "/api/session")
    session_id = reply.json()["sessionId"]
    assert reply.message.all(b"Set-Cookie") == [
        f"__Host-session={session_id}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax".encode()
    ]
    assert reply.message.get(b"Cache-Control") == b"no-store"


def test_a_foreign_page_cannot_begin_or_end_one(front: Running) -> None:
    foreign = Browser(front, headers={"Origin": "https://evil.example"})
    assert foreign.ask("POST", "/api/session").said == (403, "CORS_BLOCKED")
    silent = Browser(front, headers={"Sec-Fetch-Site": "cross-site"})
    assert silent.ask("DELETE", "/api/session").said == (403, "CSRF_BLOCKED")


def test_a_session_that_began_is_told(front: Running) -> None:
    session_id = Browser(front).session()
    created = front.logged(event="SESSION_CREATED", outcome="allowed", detail={"renewed": False})
    assert len(created["session"]) == 8
    assert session_id not in json.dumps(front.lines())
