"""What a subject leaves behind, and that erasing him leaves nothing: in memory and in a real Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.__main__ import main
from sidecar.session import key_of
from sidecar.vault.migrations import REVISIONS
from tests.support.backends import Serving, answer
from tests.support.browsers import ELSEWHERE, HOME, Browser
from tests.support.redis import RedisServer, redis_server
from tests.support.sidecar import Running, threaded

SECRET = "a secret for tokens, long enough to be one"
POLICY = {
    "sessions": {"mode": "issue"},
    "ownership": {"mode": "enforce"},
    "clients": {"ban": {"strikes": 4}},
    "organizations": {"from": ["header"]},
    "rate_limits": [
        {"name": "wide", "per": "ip", "limit": 1000, "window": "1h"},
        {"name": "org", "per": "organization", "limit": 1000, "window": "1h"},
    ],
    "routes": [
        {
            "name": "chat",
            "match": {"path": "/api/chat"},
            "message": {},
            "session": "required",
            "rate_limits": [{"name": "burst", "per": "session", "limit": 100, "window": "1h"}],
        },
        {
            "name": "open",
            "match": {"path": "/open"},
            "rate_limits": [{"name": "anonymous", "per": "session", "limit": 100, "window": "1h", "counts": "all"}],
        },
    ],
}


@pytest.fixture(params=["memory", "redis"])
def stage(request: pytest.FixtureRequest, tmp_path, monkeypatch) -> Iterator[tuple[Running, RedisServer | None]]:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    for name in ("ENCRYPTION_KEY", "JWT_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)
    said = answer(b'{"conversationId": "c-1"}', content_type="application/json")
    with Serving(lambda _: said) as backend:
        if request.param == "memory":
            with threaded(tmp_path, backend.url, {"JWT_SECRET": SECRET}, **POLICY) as running:
                yield running, None
        else:
            with (
                redis_server() as redis,
                threaded(tmp_path, backend.url, {"JWT_SECRET": SECRET, "REDIS_URL": redis.url}, **POLICY) as running,
            ):
                yield running, redis


def live(front: Running, address: str = HOME) -> Browser:
    """Leave traces: a session, a conversation, windows with and without a session, events."""
    browser = Browser(front, address, headers={"X-Org-ID": "acme"})
    browser.session()
    assert browser.ask("POST", "/api/chat", {"message": "hi"}).status == 200
    assert Browser(front, address, headers={"X-Org-ID": "acme"}).ask("GET", "/open").status == 200
    return browser


def erase(front: Running, capsys, *subject: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["erase", *subject, "--management", f"http://127.0.0.1:{front.management}", "--json"]) == 0
    erased: dict[str, Any] = json.loads(capsys.readouterr().out)["erased"]
    return erased


def keys(redis: RedisServer | None) -> str:
    return redis.cli("KEYS", "*") if redis is not None else ""


def test_an_address(stage, capsys) -> None:
    front, redis = stage
    browser, neighbour = live(front), live(front, ELSEWHERE)
    for _ in range(5):
        Browser(front).ask("POST", "/api/chat", X_Session_ID="A" * 43)
    assert Browser(front).ask("GET", "/open").said == (403, "IP_BLOCKED")
    erased = erase(front, capsys, "--ip", HOME)
    assert (erased["sessions"], erased["conversations"], erased["bans"]) == (1, 1, 1)
    assert erased["windows"] == 2
    assert erased["events"] >= 5
    assert HOME not in keys(redis)
    assert browser.ask("POST", "/api/chat", {"message": "hi"}).said == (400, "INVALID_SESSION_ID")
    assert neighbour.ask("POST", "/api/chat", {"message": "hi"}).status == 200
    told = front.logged(event="DATA_ERASED", outcome="allowed")
    assert HOME not in json.dumps(told["detail"])
    assert told["detail"]["sessions"] == 1


def test_a_session(stage, capsys) -> None:
    front, redis = stage
    browser, neighbour = live(front), live(front)
    session_id = browser.cookies["__Host-session"]
    erased = erase(front, capsys, f"--session={session_id}")
    assert (erased["sessions"], erased["conversations"], erased["windows"]) == (1, 1, 1)
    assert erased["events"] >= 1
    assert f"s:{key_of(session_id)}" not in keys(redis)
    again = erase(front, capsys, f"--session={session_id}")
    assert again == {"windows": 0, "sessions": 0, "conversations": 0, "events": 0}
    assert browser.ask("POST", "/api/chat", {"message": "hi"}).said == (400, "INVALID_SESSION_ID")
    assert neighbour.ask("POST", "/api/chat", {"message": "hi"}).status == 200


def test_an_organization(stage, capsys) -> None:
    front, redis = stage
    browser = live(front)
    other = Browser(front)
    other.session()
    erased = erase(front, capsys, "--org", "acme")
    assert (erased["sessions"], erased["conversations"], erased["windows"]) == (1, 1, 1)
    assert "acme" not in keys(redis)
    assert browser.ask("POST", "/api/chat", {"message": "hi"}).said == (400, "INVALID_SESSION_ID")
    assert other.ask("POST", "/api/chat", {"message": "hi"}).status == 200


def test_the_page_about_data_names_all_that_is_stored(stage) -> None:
    front, redis = stage
    live(front)
    Browser(front).ask("POST", "/api/chat", X_Session_ID="A" * 43)
    page = (Path(__file__).parent.parent.parent / "docs/data.md").read_text()
    for table in re.findall(r"CREATE TABLE (\w+)", str(REVISIONS)):
        assert f"| `{table}` |" in page, table
    documented = re.findall(r"`(\{?sidecar[^` ]*:[^` ]+)`", page)
    shapes = [re.sub("[A-Z]+", ".+", re.escape(name)) for name in documented]
    for key in keys(redis).splitlines():
        assert any(re.fullmatch(shape, key) for shape in shapes), key
