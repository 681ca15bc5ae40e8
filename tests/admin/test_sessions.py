"""Sessions over the admin API: counting, finding and ending them; an id stands in no URL, record or answer."""

from __future__ import annotations

import json

import aiohttp

from sidecar.errors import StoreUnavailable
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.memory_sessions import MemorySessionStore
from tests.support.management import management

ID = "the-id-of-a-session-0123456789"


async def call(panel, client, method, path, body=None, role="admin", organization="*"):
    async with client.request(method, path, json=body, headers=panel.bearer(role, organization)) as response:
        return response.status, await response.json()


async def begin(panel, name=ID, organization="acme", client="203.0.113.9"):
    now = panel.clock.now()
    made = Session(key_of(name), organization, now, now, "203.0.113.0/24", client, now + 86_400)
    await panel.sessions.create(made, seal_of(name), 3600.0)
    return made.key


async def test_counts_by_organization(panel, client):
    for number in range(3):
        await begin(panel, f"session {number}")
    await begin(panel, "another", organization="other")
    _, shown = await call(panel, client, "GET", "/api/sessions", role="viewer")
    assert shown == {"count": 4, "organizations": {"acme": 3, "other": 1}}
    _, shown = await call(panel, client, "GET", "/api/sessions", role="viewer", organization="other")
    assert shown == {"count": 1, "organizations": {"other": 1}}


async def test_a_session_is_found_by_its_hash_its_key_and_its_id(panel, client):
    key = await begin(panel)
    found = {
        "session": key[:8],
        "key": key,
        "organization": "acme",
        "client": "203.0.113.9",
        "seen": "2027-01-15T08:00:00.000Z",
        "until": "2027-01-15T09:00:00.000Z",
    }
    for text in (key[:8], key, ID):
        status, shown = await call(panel, client, "POST", "/api/sessions/find", {"session": text}, role="viewer")
        assert (status, shown) == (200, {"sessions": [found], "complete": True}), text
        assert panel.recorder.events[-1].detail["subject"] == f"session:{key[:8]}"
    assert ID not in repr(panel.recorder.events) + json.dumps(panel.book.entries) + json.dumps(shown)


async def test_a_session_of_another_organization_is_not_found(panel, client):
    key = await begin(panel)
    for text in (key[:8], key, ID):
        _, shown = await call(panel, client, "POST", "/api/sessions/find", {"session": text}, organization="other")
        assert shown["sessions"] == []
        status, _ = await call(panel, client, "POST", "/api/sessions/end", {"session": text}, organization="other")
        assert status == 404
    assert await panel.sessions.count(panel.clock.now()) == 1


async def test_ending_one_ends_what_runs_for_it_and_is_written_down(panel, client):
    key = await begin(panel)
    body = {"session": key[:8]}
    status, done = await call(panel, client, "POST", "/api/sessions/end", body, role="operator")
    assert (status, done) == (200, {"ended": 1, "more": False, "handles_revoked": True, "session": key[:8]})
    assert panel.revoked == [Revoked(SubjectKind.SESSION, key, Cause.REVOKED, "acme")]
    assert await panel.sessions.count(panel.clock.now()) == 0
    entry = panel.book.entries[-1]
    assert (entry["action"], entry["subject"], entry["organization"]) == ("session.end", f"session:{key[:8]}", "acme")
    assert (await call(panel, client, "POST", "/api/sessions/end", body))[0] == 404


async def test_ending_all_of_an_organization(panel, client, monkeypatch):
    monkeypatch.setattr("sidecar.admin.sessions.ENDED_AT_ONCE", 2)
    for number in range(3):
        await begin(panel, f"session {number}")
    await begin(panel, "another", organization="other")
    _, done = await call(panel, client, "POST", "/api/sessions/end", {"organization": "acme"}, role="operator")
    assert done == {"ended": 2, "more": True, "handles_revoked": True}
    _, done = await call(panel, client, "POST", "/api/sessions/end", {"organization": "acme"}, role="operator")
    assert done == {"ended": 1, "more": False, "handles_revoked": True}
    assert len(panel.revoked) == 3
    assert await panel.sessions.counts(None, panel.clock.now(), 9) == {"other": 1}


async def test_eight_characters_that_name_two_sessions_end_neither(panel, client):
    now = panel.clock.now()
    for last in ("a", "b"):
        made = Session("c0ffee11" + last * 56, "acme", now, now, "203.0.113.0/24", "203.0.113.9", now + 60)
        await panel.sessions.create(made, b"", 60.0)
    status, answer = await call(panel, client, "POST", "/api/sessions/end", {"session": "c0ffee11"})
    assert (status, answer["code"]) == (409, "CONFLICT")
    assert await panel.sessions.count(now) == 2
    _, shown = await call(panel, client, "POST", "/api/sessions/find", {"session": "c0ffee11"})
    assert len(shown["sessions"]) == 2


async def test_one_of_the_two_is_asked_for(panel, client):
    for body in ({}, {"session": "deadbeef", "organization": "acme"}):
        assert (await call(panel, client, "POST", "/api/sessions/end", body))[0] == 400


async def test_a_deployment_without_sessions():
    async with management(sessions=None) as panel, aiohttp.ClientSession(panel.base) as client:
        assert (await call(panel, client, "GET", "/api/sessions"))[0] == 404


async def test_a_store_that_goes_away_meanwhile_leaves_nothing_running_of_those_that_ended():
    class Leaving(MemorySessionStore):
        async def delete(self, key, organization=""):
            if await self.count(0.0) == 2:
                raise StoreUnavailable("Redis is not available")
            return await super().delete(key, organization)

    store = Leaving()
    async with management(sessions=store) as panel, aiohttp.ClientSession(panel.base) as client:
        panel.sessions = store
        for number in range(3):
            await begin(panel, f"session {number}")
        status, _ = await call(panel, client, "POST", "/api/sessions/end", {"organization": "acme"})
        assert (status, len(panel.revoked)) == (503, 1)
