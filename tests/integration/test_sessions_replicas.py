"""Sessions over two sidecars that share one real Redis; and what happens when it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.backends import Serving
from tests.support.browsers import ELSEWHERE, Browser, Reply
from tests.support.redis import RedisServer, redis_server
from tests.support.sidecar import Running, sidecar, until

ROUTES = [
    {"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "message": {}, "session": "required"},
    {"name": "open", "match": {"path": "/open"}},
]
INVALID = (400, "INVALID_SESSION_ID")
Pair = tuple[RedisServer, Running, Running]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One refuses when Redis is lost, the other lets requests pass, as their policies say."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        backend = stack.enter_context(Serving())
        both = []
        for name, loss in (("one", "refuse"), ("other", "pass")):
            folder = tmp_path_factory.mktemp(name)
            sections = {"sessions": {"mode": "issue", "on_store_loss": loss}, "routes": ROUTES}
            both.append(stack.enter_context(sidecar(folder, backend.url, {"REDIS_URL": redis.url}, **sections)))
        yield redis, both[0], both[1]


def steady(front: Running, ask: Callable[[], Reply]) -> Reply:
    """Ask again if Redis was too slow for the sidecar meanwhile, as it may be on a busy machine."""
    while True:
        before = front.metric("sidecar_store_up", store="redis")
        reply = ask()
        if before == front.metric("sidecar_store_up", store="redis") == 1.0 and reply.status != 503:
            return reply


def began(front: Running) -> str:
    session_id: str = steady(front, lambda: Browser(front).ask("POST", "/api/session")).json()["sessionId"]
    return session_id


def said(front: Running, session_id: str, address: str = "203.0.113.9") -> tuple[int, str]:
    body = {"message": "hi", "sessionId": session_id}
    return steady(front, lambda: Browser(front, address).ask("POST", "/api/chat", body)).said


def chat(front: Running, session_id: str, address: str = "203.0.113.9") -> tuple[int, str]:
    return Browser(front, address).ask("POST", "/api/chat", {"message": "hi", "sessionId": session_id}).said


def test_a_session_of_one_is_known_to_the_other(pair: Pair) -> None:
    _, one, other = pair
    session_id = began(one)
    assert said(one, session_id)[0] == said(other, session_id)[0] == 200


def test_a_logout_counts_everywhere_at_once(pair: Pair) -> None:
    _, one, other = pair
    session_id = began(one)
    assert said(other, session_id)[0] == 200
    ended = steady(other, lambda: Browser(other).ask("DELETE", "/api/session", X_Session_ID=session_id))
    assert ended.status == 204
    assert said(one, session_id) == said(other, session_id) == INVALID


def test_a_renewed_id_counts_everywhere_at_once(pair: Pair) -> None:
    _, one, other = pair
    old = began(one)
    renewed = steady(one, lambda: Browser(one).ask("POST", "/api/session", X_Session_ID=old))
    new = renewed.json()["sessionId"]
    assert said(other, old) == INVALID
    assert said(other, new)[0] == 200


def test_a_stolen_id_is_refused_by_the_other(pair: Pair) -> None:
    _, one, other = pair
    assert said(other, began(one), ELSEWHERE) == INVALID


def test_redis_holds_no_id(pair: Pair) -> None:
    redis, one, _ = pair
    session_id = began(one)
    keys = redis.cli("KEYS", "*")
    assert "sidecar:s:" in keys
    assert session_id.partition(".")[0] not in keys
    for key in keys.splitlines():
        if key.startswith("sidecar:s:"):
            held = redis.cli("--no-raw", "HGETALL", key)
            assert not any(plain in held for plain in (session_id.partition(".")[0], "203.0.113"))


def test_both_count_the_same_sessions(pair: Pair) -> None:
    _, one, other = pair
    began(one)
    until(lambda: one.metric("sidecar_sessions_active") >= 1, "the gauge", 12)
    until(lambda: other.metric("sidecar_sessions_active") == one.metric("sidecar_sessions_active"), "the other's", 12)


def test_redis_lost_and_found(pair: Pair) -> None:
    """Last in this file: it ends the server."""
    redis, one, other = pair
    session_id = began(one)
    redis.kill()
    # Refused, not waited for, and not told that the session is gone: the page keeps it and asks again.
    reply = Browser(one).ask("POST", "/api/chat", {"message": "hi", "sessionId": session_id})
    assert reply.said == (503, "OVERLOADED")
    assert reply.message.get(b"Retry-After") == b"1"
    assert Browser(one).ask("POST", "/api/session").said == (503, "OVERLOADED")
    assert Browser(one).ask("DELETE", "/api/session", X_Session_ID=session_id).said == (503, "OVERLOADED")
    # Pages load, without their session, and what presents none never asks the store.
    assert Browser(one).ask("GET", "/open", X_Session_ID=session_id).status == 200
    assert Browser(one).ask("POST", "/open").status == 200
    assert chat(one, "") == INVALID
    # The policy of the other one says so.
    assert chat(other, session_id)[0] == 200
    assert chat(other, "") == INVALID
    redis.start()
    until(lambda: Browser(one).ask("POST", "/api/session").status == 201, "sessions to begin again")
    # Redis came back empty: old sessions are over.
    until(lambda: other.metric("sidecar_store_up", store="redis") == 1.0, "the other one to find it")
    assert said(one, session_id) == INVALID
    assert said(other, began(one))[0] == 200
