"""Sessions that the backend makes: learned from its JSON, its events and its cookies, and held to the same rules."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from tests.support.backends import Serving, answer
from tests.support.browsers import ELSEWHERE, Browser
from tests.support.raw import Message
from tests.support.sidecar import Running, threaded

INVALID = (400, "INVALID_SESSION_ID")
NUMBERS = itertools.count(1)
CHAT = {"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "message": {}, "session": "required"}
BEGIN = {"name": "begin", "match": {"path": "/api/begin"}}


def made(width: int = 12) -> str:
    """Return an id as a backend would make it: of a shape of its own."""
    return f"s%3A{next(NUMBERS):0{width}d}Xy_-.{'Z' * 20}%2Fsig"


def json_backend(message: Message) -> bytes:
    path = message.target.partition(b"?")[0]
    if path == b"/api/begin":
        return answer(json.dumps({"sessionId": made()}).encode(), content_type="application/json")
    if path == b"/api/events":
        event = b'event: start\r\ndata: {"sessionId": "%b"}\r\n\r\ndata: {"text": "hi"}\r\n\r\n' % made().encode()
        return answer(event, content_type="text/event-stream; charset=utf-8")
    if path == b"/api/fails":
        return answer(json.dumps({"sessionId": made()}).encode(), status="404 No", content_type="application/json")
    if path == b"/api/huge":
        body = json.dumps({"pad": "x" * 300_000, "sessionId": made()}).encode()
        return answer(body, content_type="application/json")
    # As many backends do: an id that was sent is taken over.
    asked = json.loads(message.body or b"{}")
    return answer(json.dumps({"sessionId": asked.get("sessionId") or made()}).encode(), content_type="application/json")


@pytest.fixture(scope="module")
def by_json(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    sessions = {"mode": "learn", "learn": {"json": "$.sessionId"}, "in": ["header:X-Session-ID", "body:$.sessionId"]}
    optional = {"name": "optional", "match": {"path": "/api/optional"}, "message": {}}
    routes = [CHAT, BEGIN, optional]
    with (
        Serving(json_backend) as backend,
        threaded(tmp_path_factory.mktemp("json"), backend.url, sessions=sessions, routes=routes) as running,
    ):
        yield running


def chat(browser: Browser, session_id: str) -> tuple[int, str]:
    return browser.ask("POST", "/api/chat", {"message": "hi", "sessionId": session_id}).said


def id_in(reply_body: bytes) -> str:
    start = reply_body.index(b'"sessionId": "') + 14
    return reply_body[start : reply_body.index(b'"', start)].decode()


TEACHES = {
    "JSON": ("/api/begin", True),
    "events": ("/api/events", True),
    "a refusal": ("/api/fails", False),
    "an answer too long to look at": ("/api/huge", False),
}


@pytest.mark.parametrize(("path", "learned"), TEACHES.values(), ids=TEACHES)
def test_what_teaches(by_json: Running, path, learned) -> None:
    browser = Browser(by_json)
    session_id = id_in(browser.ask("GET", path).message.body)
    assert chat(browser, session_id) == ((200, "") if learned else INVALID)
    assert chat(Browser(by_json, ELSEWHERE), session_id) == INVALID


def test_the_answer_is_not_changed(by_json: Running) -> None:
    message = Browser(by_json).ask("GET", "/api/events").message
    assert message.body.startswith(b"event: start\r\ndata: {")
    assert message.body.endswith(b'data: {"text": "hi"}\r\n\r\n')


def test_what_a_client_invents_is_not_learned_from_its_echo(by_json: Running) -> None:
    invented = "invented-by-a-client-" + "x" * 20
    browser = Browser(by_json)
    # Refused where bodies are looked at; elsewhere the answer teaches nothing.
    assert browser.ask("POST", "/api/optional", {"message": "hi", "sessionId": invented}).said == INVALID
    assert browser.ask("POST", "/api/elsewhere", {"sessionId": invented}).json() == {"sessionId": invented}
    assert chat(browser, invented) == INVALID


def test_an_optional_route_begins_one(by_json: Running) -> None:
    browser = Browser(by_json)
    session_id = browser.ask("POST", "/api/optional", {"message": "hi"}).json()["sessionId"]
    assert chat(browser, session_id) == (200, "")
    by_json.logged(event="SESSION_CREATED", outcome="allowed", detail={"learned": True})


SHAPES = {"too short": "short", "blank": "x" * 20 + " y", "markup": "<" + "x" * 30, "too long": "x" * 257}


@pytest.mark.parametrize("session_id", SHAPES.values(), ids=SHAPES)
def test_the_pattern_decides_about_the_shape(by_json: Running, session_id) -> None:
    assert chat(Browser(by_json), session_id) == INVALID


# --- cookies ---------------------------------------------------------------------------------------


def cookie_backend(message: Message) -> bytes:
    """A backend in the way of express-session: a new cookie for each request without one."""
    cookies = (message.get(b"cookie") or b"").decode()
    seen = json.dumps({"cookie": cookies}).encode()
    lines = []
    if message.target == b"/logout":
        lines = ["Set-Cookie: connect.sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
    elif message.target == b"/login" or "connect.sid=" not in cookies:
        lines = ["Set-Cookie: other=1", f"Set-Cookie: connect.sid={made()}; Path=/; HttpOnly"]
    status = "302 Found" if message.target == b"/login" else "200 OK"
    return answer(seen, *lines, status=status, content_type="application/json")


@pytest.fixture(scope="module")
def by_cookie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    sessions = {"mode": "learn", "learn": {"cookie": "connect.sid"}, "in": ["cookie:connect.sid"]}
    with (
        Serving(cookie_backend) as backend,
        threaded(tmp_path_factory.mktemp("cookie"), backend.url, sessions=sessions, routes=[CHAT]) as running,
    ):
        yield running


def hi(browser: Browser) -> tuple[int, str]:
    return browser.ask("POST", "/api/chat", {"message": "hi"}).said


def test_a_cookie_is_learned(by_cookie: Running) -> None:
    browser = Browser(by_cookie)
    assert hi(browser) == INVALID
    browser.ask("GET", "/")
    assert browser.cookies["connect.sid"].startswith("s%3A")
    assert hi(browser) == (200, "")
    assert hi(Browser(by_cookie, ELSEWHERE, dict(browser.cookies))) == INVALID


def test_a_cookie_from_before_is_replaced_by_loading_the_page(by_cookie: Running) -> None:
    browser = Browser(by_cookie, cookies={"theme": "dark", "connect.sid": made(), "other": "1"})
    assert hi(browser) == INVALID
    # The backend does not see what is not known here, and begins anew.
    assert browser.ask("GET", "/").json() == {"cookie": "theme=dark; other=1"}
    assert hi(browser) == (200, "")


def test_a_login_changes_the_id(by_cookie: Running) -> None:
    browser = Browser(by_cookie)
    browser.ask("GET", "/")
    before = browser.cookies["connect.sid"]
    assert browser.ask("POST", "/login").status == 302
    assert browser.cookies["connect.sid"] != before
    assert hi(browser) == (200, "")


def test_a_logout_at_the_backend_ends_the_session_here(by_cookie: Running) -> None:
    browser = Browser(by_cookie)
    browser.ask("GET", "/")
    kept = dict(browser.cookies)
    browser.ask("POST", "/logout")
    assert "connect.sid" not in browser.cookies
    assert hi(Browser(by_cookie, cookies=kept)) == INVALID
    by_cookie.logged(event="SESSION_CLEANUP", detail={"reason": "logout", "sessions": 1})


def test_the_path_of_issued_sessions_is_the_backends(by_cookie: Running) -> None:
    assert Browser(by_cookie).ask("POST", "/api/session").status == 200
