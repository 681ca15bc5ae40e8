"""What `POST /api/explain` foretells is what the public listener then does; and asking leaves no trace in it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.admin.jwt import make_token
from sidecar.admin.roles import Role
from sidecar.secret import Secret
from tests.support.backends import Serving
from tests.support.raw import PATIENCE, get, post
from tests.support.sidecar import MASTER, ORIGIN, TRUSTED, Running, threaded

SECTIONS: dict[str, Any] = {
    "clients": {"ban": {"strikes": 3, "within": "1m", "for": "1m"}, "deny": ["203.0.113.7"]},
    "requests": {"hosts": ["chat.example", "127.0.0.1"], "max_body": "2KiB", "max_header_bytes": "4KiB"},
    "rate_limits": [{"name": "few", "per": "ip", "limit": 100, "window": "1m"}],
    "sessions": {"mode": "issue", "in": ["header:X-Session-ID", "body:$.sessionId"]},
    "content_filter": {"patterns": [{"name": "plan", "pattern": "secret plan"}]},
    "unmatched": "deny",
    "routes": [
        {
            "name": "chat",
            "match": {"path": "/api/chat", "methods": ["POST"]},
            "message": {"fields": ["$.message"], "max_chars": 50},
        },
        {
            "name": "member",
            "match": {"path": "/member", "methods": ["POST"]},
            "message": {"fields": ["$.message"]},
            "session": "required",
        },
        {"name": "tight", "match": {"path": "/tight"}, "rate_limits": [{"name": "one", "per": "ip", "limit": 1, "window": "1h"}]},
        {"name": "page", "match": {"path": "/*", "methods": ["GET", "HEAD"]}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Serving]]:
    folder: Path = tmp_path_factory.mktemp("explained")
    with Serving() as backend, threaded(folder, backend.url, {"JWT_SECRET": MASTER}, **SECTIONS) as running:
        yield running, backend


def explain(running: Running, method: str, path: str, lines: list[str], body: str, ip: str) -> dict[str, Any]:
    token = make_token(Secret(MASTER), Role.VIEWER, now=time.time(), ttl=60, organization="*", subject="test")
    headers = [line.split(": ", 1) for line in ["Host: chat.example", *lines]]
    asked = {"method": method, "path": path, "headers": headers, "body": body, "ip": ip}
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.management}/api/explain",
        json.dumps(asked).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


JSON = "Content-Type: application/json"
FROM = "X-Forwarded-For: 198.51.100.{}"
CASES = [
    pytest.param("GET", "/", [], "", id="a page"),
    pytest.param("GET", "/", [f"Origin: {ORIGIN}"], "", id="an allowed origin"),
    pytest.param("GET", "/", ["Origin: https://elsewhere.example"], "", id="a foreign origin"),
    pytest.param("OPTIONS", "/api/chat", [f"Origin: {ORIGIN}", "Access-Control-Request-Method: POST"], "", id="a preflight"),
    pytest.param("POST", "/api/chat", [JSON], '{"message": "hello"}', id="a message"),
    pytest.param("POST", "/api/chat", [JSON], '{"message": "<b>hello"}', id="a message with markup"),
    pytest.param("POST", "/api/chat", [JSON], '{"message": "' + "m" * 51 + '"}', id="a long message"),
    pytest.param("POST", "/api/chat", [JSON], '{"message": "our secret plan"}', id="a filtered message"),
    pytest.param("POST", "/api/chat", [JSON], '{"message": 1}', id="a number"),
    pytest.param("POST", "/api/chat", ["Content-Type: text/plain"], "hello", id="another type"),
    pytest.param("POST", "/api/chat", [JSON], '{"message": "' + "m" * 3000 + '"}', id="a large body"),
    pytest.param("POST", "/api/chat", [JSON, "Sec-Fetch-Site: cross-site"], '{"message": "x"}', id="another site"),
    pytest.param("POST", "/api/chat", [JSON, "Content-Length: 0"], "", id="an empty body"),
    pytest.param("POST", "/member", [JSON], '{"message": "x"}', id="no session"),
    pytest.param("POST", "/member", [JSON], '{"message": "x", "sessionId": "' + "q" * 43 + '"}', id="an unknown session"),
    pytest.param("POST", "/member", [JSON, "X-Session-ID: short"], '{"message": "x"}', id="no session's id"),
    pytest.param("DELETE", "/", [], "", id="a method that no route has"),
    pytest.param("BREW", "/", [], "", id="an unknown method"),
    pytest.param("GET", "/", ["X-Pad: " + "p" * 5000], "", id="large headers"),
    pytest.param("POST", "/x/..%2fapi/chat/%2e%2e/../tight", [], "", id="a winding path"),
    pytest.param("GET", "/api/rate-limit/status", [], "", id="the limits"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "lines", "body"), CASES)
def test_what_is_foretold_happens(
    served: tuple[Running, Serving], method: str, path: str, lines: list[str], body: str, request: Any
) -> None:
    running, backend = served
    lines = [*lines, FROM.format(request.node.callspec.indices["method"] + 20)]
    said = explain(running, method, path, lines, body, TRUSTED)
    backend.seen.clear()
    length = [f"Content-Length: {len(body)}"] if body else []
    with running.connect(TRUSTED) as raw:
        reply = raw.send(get(path, *lines, *length, method=method) + body.encode()).response(method)
    assert (said["decision"] == "pass") == bool(backend.seen), (said, reply)
    last = said["steps"][-1]
    if said["decision"] == "refuse":
        assert (reply.status, json.loads(reply.body)["code"]) == (last["status"], last["code"])
    elif said["decision"] == "pass":
        (received,) = backend.seen
        assert {name.lower().encode() for name in said["backend"]["headers"]} == received.names()
        assert len(received.body) == said["backend"]["body_bytes"]
    elif last.get("status"):
        assert reply.status == last["status"]


def test_asking_counts_nothing_and_a_used_limit_is_seen(served: tuple[Running, Serving]) -> None:
    running, _ = served
    lines = [FROM.format(9)]
    for _ in range(20):
        assert explain(running, "POST", "/tight", lines, "", TRUSTED)["decision"] == "pass"
        assert explain(running, "DELETE", "/", lines, "", TRUSTED)["decision"] == "refuse"  # three would be a ban
    for status in (200, 429):
        with running.connect(TRUSTED) as raw:
            assert raw.send(post("/tight", b"", *lines)).response().status == status
    said = explain(running, "POST", "/tight", lines, "", TRUSTED)
    assert (said["steps"][-1]["guard"], said["steps"][-1]["key"]) == ("rate_limits", "routes[2].rate_limits[0].limit")
