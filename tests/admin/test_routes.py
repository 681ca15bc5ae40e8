"""Who may do what: every endpoint × role × organization, over a real socket."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from sidecar.admin.routes import ENDPOINTS, Table
from tests.support.management import management

# What a token for everybody may (the least role), and what one of its own organization, or another one, gets.
NO = 403
TABLE = [
    # method, path, body, least role, status for "*", for acme, for other
    ("GET", "/api/rate-limit/status", None, "viewer", 200, 200, 200),
    ("GET", "/api/rate-limit/admin/status/ip/203.0.113.9", None, "viewer", 200, NO, NO),
    ("GET", "/api/rate-limit/admin/status/organization/acme", None, "viewer", 200, 200, NO),
    ("POST", "/api/rate-limit/reset", {"type": "ip", "key": "203.0.113.9"}, "operator", 200, NO, NO),
    ("POST", "/api/rate-limit/reset", {"type": "session", "key": "s"}, "operator", 200, NO, NO),
    ("POST", "/api/rate-limit/reset", {"type": "organization", "key": "acme"}, "operator", 200, 200, NO),
    ("GET", "/api/budgets", None, "viewer", 200, 200, 200),
    ("GET", "/api/budgets/ip/203.0.113.9", None, "viewer", 200, NO, NO),
    ("GET", "/api/budgets/organization/acme", None, "viewer", 200, 200, NO),
    ("GET", "/api/budgets/credential/acme%2Fopenai", None, "viewer", 200, 200, NO),
    ("POST", "/api/budgets/reset", {"type": "ip", "key": "203.0.113.9"}, "operator", 200, NO, NO),
    ("POST", "/api/budgets/reset", {"type": "organization", "key": "acme"}, "operator", 200, 200, NO),
    ("GET", "/api/costs", None, "viewer", 200, 200, 200),
    ("GET", "/api/costs?organization=acme", None, "viewer", 200, 200, NO),
    ("GET", "/api/sessions", None, "viewer", 200, 200, 200),
    ("GET", "/api/sessions?organization=acme", None, "viewer", 200, 200, NO),
    ("POST", "/api/sessions/find", {"session": "deadbeef"}, "viewer", 200, 200, 200),
    ("POST", "/api/sessions/end", {"organization": "acme"}, "operator", 200, 200, NO),
    ("POST", "/api/sessions/end", {"session": "deadbeef"}, "operator", 404, 404, 404),
    ("GET", "/api/providers", None, "viewer", 200, 200, 200),
    ("GET", "/api/audit/verify", None, "viewer", 200, NO, NO),
    ("GET", "/api/bans/192.0.2.1", None, "viewer", 200, NO, NO),
    ("GET", "/api/bans", None, "viewer", 200, NO, NO),
    ("POST", "/api/bans", {"ip": "203.0.113.9"}, "operator", 201, NO, NO),
    ("DELETE", "/api/bans", {"ip": "192.0.2.1"}, "operator", 200, NO, NO),
    ("DELETE", "/api/bans/192.0.2.1", None, "operator", 200, NO, NO),
    ("GET", "/api/events", None, "viewer", 200, 200, 200),
    ("GET", "/api/events?organization=acme", None, "viewer", 200, 200, NO),
    ("GET", "/api/audit", None, "viewer", 200, 200, 200),
    ("GET", "/api/audit?organization=acme", None, "viewer", 200, 200, NO),
    ("GET", "/api/policy", None, "viewer", 200, 200, 200),
    ("GET", "/api/whoami", None, "viewer", 200, 200, 200),
    ("GET", "/api/overview", None, "viewer", 200, NO, NO),
    ("GET", "/api/policy/values", None, "viewer", 200, NO, NO),
    ("POST", "/api/policy/check", {"yaml": "version: 2"}, "operator", 200, NO, NO),
    ("POST", "/api/policy/diff", {"yaml": "version: 2"}, "operator", 200, NO, NO),
    ("POST", "/api/policy/replay", {"yaml": "version: 2"}, "operator", 200, NO, NO),
    ("GET", "/api/suggestions", None, "viewer", 200, NO, NO),
    ("POST", "/api/explain", {"method": "GET", "path": "/"}, "viewer", 200, NO, NO),
    ("DELETE", "/api/subjects/ip/203.0.113.9", None, "admin", 200, NO, NO),
    ("DELETE", "/api/subjects/session/abc", None, "admin", 200, NO, NO),
    ("DELETE", "/api/subjects/organization/acme", None, "admin", 200, 200, NO),
    ("GET", "/api/api-credentials", None, "viewer", 200, 200, 200),
    ("GET", "/api/api-credentials?organization=acme", None, "viewer", 200, 200, NO),
    (
        "POST",
        "/api/api-credentials",
        {"organization": "acme", "provider": "openai", "value": "sk-x"},
        "admin",
        201,
        201,
        NO,
    ),
    (
        "POST",
        "/api/api-credentials/test",
        {"organization": "acme", "provider": "openai", "value": "sk-x"},
        "admin",
        200,
        200,
        NO,
    ),
    ("POST", "/api/api-credentials/test", {"id": "crd_acme"}, "admin", 200, 200, 404),
    ("PUT", "/api/api-credentials/crd_acme", {"name": "new"}, "admin", 200, 200, 404),
    ("DELETE", "/api/api-credentials/crd_acme", None, "admin", 200, 200, 404),
    ("POST", "/api/api-credentials/crd_acme/rotate", {"value": "sk-new"}, "admin", 200, 200, 404),
    ("GET", "/api/why/r-1", None, "viewer", 200, 200, 200),
    ("GET", "/api/maintenance", None, "viewer", 200, 200, 200),
    ("POST", "/api/maintenance", {"message": "Back at noon"}, "operator", 200, NO, NO),
    ("DELETE", "/api/maintenance", None, "operator", 200, NO, NO),
    ("POST", "/api/drain", None, "operator", 200, NO, NO),
    ("GET", "/api/handles", None, "viewer", 200, 200, 200),
    ("POST", "/api/handles", {"organization": "acme", "provider": "openai"}, "admin", 201, 201, NO),
    ("DELETE", "/api/handles/hdl_acme", None, "admin", 200, 200, 404),
]
LADDER = ("viewer", "operator", "admin")


async def endpoint_at(method, path):
    match = await Table().find(make_mocked_request(method, path))
    return match.endpoints[method]


async def test_the_table_holds_every_endpoint():
    met = {(method, (await endpoint_at(method, path)).path) for method, path, *_ in TABLE}
    assert met == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


async def test_the_table_says_what_the_code_says():
    for method, path, _, least, *_ in TABLE:
        assert (await endpoint_at(method, path)).role.word == least


PATHS = [
    ("/api/bans/192.0.2.1", "/api/bans/{ip}", {"ip": "192.0.2.1"}),
    ("/api/bans/2001:db8::1", "/api/bans/{ip}", {"ip": "2001:db8::1"}),
    ("/api/subjects/session/a%2Fb%7Bc%7D", "/api/subjects/{type}/{id}", {"type": "session", "id": "a/b{c}"}),
    ("/api/subjects/session/%E2%82%AC%25", "/api/subjects/{type}/{id}", {"type": "session", "id": "\u20ac%"}),
    ("/api/api-credentials/test", "/api/api-credentials/test", {}),
    ("/api/api-credentials/%74est", "/api/api-credentials/test", {}),
    ("/api/api-credentials/x", "/api/api-credentials/{id}", {"id": "x"}),
    ("/api/bans/a/b", None, None),
    ("/api/bans/", None, None),
    ("/api//bans", None, None),
    ("/api/nothing", None, None),
]


@pytest.mark.parametrize(("target", "path", "names"), PATHS, ids=[row[0] for row in PATHS])
async def test_where_a_path_leads(target, path, names):
    match = await Table().find(make_mocked_request("POST", target))
    assert (match and match.path, match and match.names) == (path, names)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[1]}")
async def test_each_role_of_each_organization(row):
    method, path, body, least, everybody, own, stranger = row
    async with management() as panel, aiohttp.ClientSession(panel.base) as client:
        for role in LADDER:
            for organization, expected in (("*", everybody), ("acme", own), ("other", stranger)):
                await panel.bans.ban("192.0.2.1", panel.clock.now() + 60, "test")
                panel.book.entries.clear()
                panel.recorder.events.clear()
                allowed = LADDER.index(role) >= LADDER.index(least)
                async with client.request(
                    method, path, json=body, headers=panel.bearer(role, organization)
                ) as response:
                    answer = await response.json()
                    assert response.status == (expected if allowed else 403), (role, organization, answer)
                if response.status in (403, 404):
                    assert set(answer) == {"error", "code", "request_id"}
                    assert panel.recorder.events[-1].outcome == "refused"
                    # The vault, which is a stand-in here, writes down itself what it refuses.
                    assert panel.book.entries or response.status == 404
                elif method != "GET":
                    assert "ADMIN_ACTION" in panel.recorder.names()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[1]}")
async def test_every_call_needs_a_token(row, panel, client):
    method, path, body, *_ = row
    async with client.request(method, path, json=body) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="sidecar"'
        assert (await response.json())["code"] == "AUTH_FAILED"
    assert panel.recorder.names() == ["AUTH_FAILED"]
    assert panel.recorder.events[0].detail["reason"] == "missing"
    assert [entry["outcome"] for entry in panel.book.entries] == ["refused"]
