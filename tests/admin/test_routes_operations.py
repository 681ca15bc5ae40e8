"""What each operation does, and what its record says."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import aiohttp
import pytest

from sidecar.limit import Ask
from sidecar.session import Session, key_of, seal_of
from sidecar.vault.models import Change
from sidecar.vocabulary import Event
from tests.support.facts import event, served
from tests.support.management import LIMITS, SECRET, management

BURST = LIMITS[2]


async def call(panel, client, method, path, body=None, role="admin", organization="*"):
    async with client.request(method, path, json=body, headers=panel.bearer(role, organization)) as response:
        return response.status, await response.json()


async def test_windows_are_shown_and_emptied(panel, client):
    for _ in range(3):
        panel.rates.take([Ask(LIMITS[0], "203.0.113.9")], panel.clock.monotonic())
    status, shown = await call(panel, client, "GET", "/api/rate-limit/admin/status/ip/203.0.113.9")
    (window,) = shown["limits"]
    assert status == 200
    assert (window["name"], window["limit"], window["remaining"], window["allowed"]) == ("ip-minute", 60, 57, True)
    assert datetime.fromisoformat(window["reset"]) > datetime.fromtimestamp(panel.clock.now(), UTC)
    status, done = await call(panel, client, "POST", "/api/rate-limit/reset", {"type": "ip", "key": "203.0.113.9"})
    assert (status, done["reset"]) == (200, 1)
    _, shown = await call(panel, client, "GET", "/api/rate-limit/admin/status/ip/203.0.113.9")
    assert shown["limits"][0]["remaining"] == 60


async def test_an_address_is_counted_by_its_prefix_and_a_session_by_its_hash(panel, client):
    _, shown = await call(panel, client, "GET", "/api/rate-limit/admin/status/ip/2001:db8:1:2::5")
    assert shown["key"] == "2001:db8:1:2::/64"
    _, shown = await call(panel, client, "GET", "/api/rate-limit/admin/status/ip/2001:db8:1:2::%2F64")
    assert shown["key"] == "2001:db8:1:2::/64"
    _, shown = await call(panel, client, "GET", "/api/rate-limit/admin/status/session/the-id-of-a-session")
    assert shown["key"] == key_of("the-id-of-a-session")
    assert panel.recorder.events[-1].path == "/api/rate-limit/admin/status/{type}/{key}"
    assert "the-id-of-a-session" not in repr(panel.recorder.events)


async def test_windows_of_everyone_and_of_requests_without_a_session(panel, client):
    _, shown = await call(panel, client, "GET", "/api/rate-limit/admin/status/global/anything")
    assert shown["key"] == "all"
    panel.rates.take([Ask(BURST, "ip:203.0.113.9")], panel.clock.monotonic())
    _, shown = await call(panel, client, "GET", "/api/rate-limit/admin/status/session/ip:203.0.113.9")
    assert (shown["key"], shown["limits"][0]["used"]) == ("ip:203.0.113.9", 1)
    status, _ = await call(panel, client, "GET", "/api/rate-limit/admin/status/session/ip:nowhere")
    assert status == 400


async def test_an_organization_sees_its_own_windows(panel, client):
    status, shown = await call(panel, client, "GET", "/api/rate-limit/status", organization="acme", role="viewer")
    assert status == 200
    assert shown["stores"] == {"redis": "up"}
    assert [limit["name"] for limit in shown["limits"]] == ["ip-minute", "org-hour", "chat-burst"]
    assert shown["organization"]["key"] == "acme"


WRONG = [
    ("GET", "/api/rate-limit/admin/status/planet/x", None),
    ("GET", "/api/rate-limit/admin/status/ip/not-an-address", None),
    ("POST", "/api/rate-limit/reset", {"type": "ip"}),
    ("DELETE", "/api/bans/not-an-address", None),
    ("GET", "/api/events?limit=0", None),
    ("GET", "/api/events?limit=x", None),
    ("GET", "/api/audit?before=-1", None),
    ("DELETE", "/api/subjects/planet/earth", None),
    ("PUT", "/api/api-credentials/crd_acme", {}),
    ("PUT", "/api/api-credentials/crd_acme", {"nmae": "x"}),
    ("PUT", "/api/api-credentials/crd_acme", {"expires_at": "tomorrow"}),
    ("PUT", "/api/api-credentials/crd_acme", {"expires_at": "2027-01-31T12:00:00"}),
    ("POST", "/api/api-credentials", {"provider": "openai", "value": "sk-x"}),
    ("POST", "/api/api-credentials", {"organization": "acme", "provider": "openai", "value": ""}),
    ("POST", "/api/handles", {"organization": "acme", "provider": "openai", "seconds": 0}),
    ("POST", "/api/explain", {"method": "GET"}),
    ("POST", "/api/explain", {"method": "GET", "path": "/", "headers": {"X": "a\r\nb"}}),
    ("POST", "/api/explain", {"method": "GET", "path": "/", "headers": [["X"]]}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRONG, ids=lambda v: str(v)[:60])
async def test_what_is_wrong_in_itself_is_a_400_with_a_reason(panel, client, method, path, body):
    status, answer = await call(panel, client, method, path, body)
    assert (status, answer["code"]) == (400, "REQUEST_MALFORMED")
    assert answer["error"] != "The request is malformed"
    assert panel.book.entries[-1]["outcome"] == "refused"


async def test_banning_and_lifting(panel, client):
    status, made = await call(
        panel, client, "POST", "/api/bans", {"ip": "203.0.113.9", "seconds": 60, "reason": "tests"}
    )
    assert (status, made["ip"], made["reason"]) == (201, "203.0.113.9", "tests")
    assert panel.bans.banned("203.0.113.9", panel.clock.now()) == panel.clock.now() + 60
    _, shown = await call(panel, client, "GET", "/api/bans")
    assert [ban["ip"] for ban in shown["bans"]] == ["203.0.113.9"]
    status, done = await call(panel, client, "DELETE", "/api/bans/203.0.113.9")
    assert (status, done) == (200, {"ip": "203.0.113.9", "lifted": True})
    assert panel.bans.banned("203.0.113.9", panel.clock.now()) == 0.0
    status, _ = await call(panel, client, "DELETE", "/api/bans?ip=203.0.113.9")
    assert status == 404


async def test_an_operation_is_recorded_and_audited_with_who_and_what(panel, client):
    await call(panel, client, "POST", "/api/bans", {"ip": "203.0.113.9"}, role="operator")
    (recorded,) = panel.recorder.events
    assert (recorded.event, recorded.outcome, recorded.status) == (Event.ADMIN_ACTION, "allowed", 201)
    assert (recorded.client_ip, recorded.method, recorded.path) == ("127.0.0.1", "POST", "/api/bans")
    assert recorded.detail == {
        "action": "ban.add",
        "actor": "ann",
        "role": "operator",
        "subject": "ip:203.0.113.9",
        "seconds": 900,
    }
    (entry,) = panel.book.entries
    assert (entry["actor"], entry["action"], entry["outcome"]) == ("ann", "ban.add", "done")
    assert (entry["subject"], entry["address"]) == ("ip:203.0.113.9", "127.0.0.1")
    assert entry["request_id"] == recorded.request_id


async def test_what_a_console_asks_every_few_seconds_is_not_recorded(panel, client):
    for path in ("/api/events", "/api/bans", "/api/policy", "/api/rate-limit/status"):
        assert (await call(panel, client, "GET", path, role="viewer"))[0] == 200
    assert panel.recorder.events == []


async def test_events_as_a_list_of_ones_own(panel, client):
    panel.recent.record(event(organization="acme"))
    panel.recent.record(event(organization="other"))
    _, shown = await call(panel, client, "GET", "/api/events", organization="acme")
    assert [(e["event"], e["organization"], e["seq"]) for e in shown["events"]] == [("CORS_BLOCKED", "acme", 1)]
    _, shown = await call(panel, client, "GET", "/api/events?after=1&limit=1")
    assert [e["seq"] for e in shown["events"]] == [2]


async def test_the_audit_log_is_read_newest_first_and_by_organization(panel, client):
    await call(panel, client, "POST", "/api/rate-limit/reset", {"type": "organization", "key": "acme"})
    await call(panel, client, "POST", "/api/rate-limit/reset", {"type": "organization", "key": "other"})
    _, shown = await call(panel, client, "GET", "/api/audit", organization="acme", role="viewer")
    assert [(e["action"], e["organization"]) for e in shown["entries"]] == [
        ("audit.list", "acme"),
        ("rate_limit.reset", "acme"),
    ]
    _, shown = await call(panel, client, "GET", "/api/audit?before=3&limit=1")
    assert [e["seq"] for e in shown["entries"]] == [2]


async def test_the_policy_in_full_is_for_those_of_all_organizations(panel, client):
    _, shown = await call(panel, client, "GET", "/api/policy", role="viewer")
    assert (shown["digest"], shown["successful"], shown["loaded_at"]) == ("ab12", False, "2027-01-15T08:00:00.000Z")
    assert shown["policy"]["version"] == 1
    assert shown["dropped_headers"] == {"remote-user": 2}
    assert shown["undeclared_proxies"] == ["10.0.0.7"]
    _, shown = await call(panel, client, "GET", "/api/policy", role="admin", organization="acme")
    assert set(shown) == {"digest", "mode", "loaded_at", "successful"}


async def test_explain_passes_the_question_on(panel, client):
    body = {
        "method": "POST",
        "path": "/api/chat?x=1",
        "headers": {"Origin": "https://a", "X": ["1", "2"]},
        "body": "{}",
    }
    status, shown = await call(panel, client, "POST", "/api/explain", {**body, "ip": "203.0.113.9"}, role="viewer")
    assert (status, shown["decision"]) == (200, "pass")
    (question,) = panel.questions
    assert question.headers == (("Origin", "https://a"), ("X", "1"), ("X", "2"))
    assert (question.method, question.target, question.address, question.body) == (
        "POST",
        "/api/chat?x=1",
        "203.0.113.9",
        b"{}",
    )


CHANGES = {
    "a name": ({"name": "new"}, Change(name="new")),
    "hosts": ({"hosts": ["eu.api.openai.com"]}, Change(hosts=("eu.api.openai.com",))),
    "an expiry as a date": ({"expires_at": "2027-06-01T00:00:00+00:00"}, Change(expires_at=1_811_808_000.0)),
    "an expiry as a number": ({"expires_at": 1_811_808_000}, Change(expires_at=1_811_808_000.0)),
    "no expiry any more": ({"expires_at": None}, Change(expires_at=0.0)),
    "a value": ({"value": "sk-new"}, Change(value=SECRET)),
}


class TestCredentials:
    async def test_a_list_shows_no_key(self, panel, client):
        _, shown = await call(panel, client, "GET", "/api/api-credentials", role="viewer", organization="acme")
        (row,) = shown["credentials"]
        assert (row["id"], row["organization"], row["last_four"], row["state"]) == (
            "crd_acme",
            "acme",
            "wxyz",
            "active",
        )
        assert not {"value", "envelope"} & set(row)
        assert [e["action"] for e in panel.book.entries] == ["credential.list"]

    async def test_creating_hands_the_key_to_the_vault_only(self, panel, client):
        value = "sk-proj-marked-0123456789"
        body = {
            "provider": "openai",
            "value": value,
            "name": "main",
            "hosts": ["api.openai.com"],
            "expires_at": "2027-06-01T00:00:00Z",
        }
        status, made = await call(panel, client, "POST", "/api/api-credentials", body, organization="acme")
        assert (status, made["id"]) == (201, "crd_new")
        ((what, actor, organization, given),) = panel.credentials.calls
        assert (what, actor.name, actor.address, organization) == ("create", "ann", "127.0.0.1", "acme")
        assert given["value"].reveal() == value
        assert (given["hosts"], given["expires_at"]) == (("api.openai.com",), 1_811_808_000.0)
        _, events = await call(panel, client, "GET", "/api/events")
        everything = json.dumps([made, events]) + repr(panel.recorder.events) + repr(panel.book.entries)
        assert value not in everything

    @pytest.mark.parametrize(("body", "change"), CHANGES.values(), ids=CHANGES)
    async def test_updating(self, panel, client, body, change):
        status, _ = await call(panel, client, "PUT", "/api/api-credentials/crd_acme", body)
        ((what, _, organization, given),) = panel.credentials.calls
        assert (status, what, organization) == (200, "update", "acme")
        if change.value is not None:
            assert given.value.reveal() == "sk-new"
        else:
            assert given == change

    async def test_rotating_deleting_and_testing(self, panel, client):
        assert (await call(panel, client, "POST", "/api/api-credentials/crd_acme/rotate", {"value": "sk-2"}))[0] == 200
        assert (await call(panel, client, "DELETE", "/api/api-credentials/crd_acme"))[0] == 200
        _, verdict = await call(panel, client, "POST", "/api/api-credentials/test", {"id": "crd_acme"})
        assert verdict == {"valid": False, "status": 401, "message": "openai does not accept this key"}
        assert [c[0] for c in panel.credentials.calls] == ["rotate", "delete", "test_stored"]

    async def test_one_of_another_organization_does_not_exist(self, panel, client):
        for organization in ("*", "acme"):
            name = "crd_none" if organization == "*" else "crd_other"
            status, answer = await call(
                panel, client, "DELETE", f"/api/api-credentials/{name}", organization=organization
            )
            assert (status, answer["code"]) == (404, "NOT_FOUND")
        assert panel.credentials.calls == []

    async def test_a_handle_is_shown_once(self, panel, client):
        status, made = await call(panel, client, "POST", "/api/handles", {"provider": "openai"}, organization="acme")
        assert (status, made["handle"], made["organization"]) == (201, "phk_shown-once", "acme")
        _, shown = await call(panel, client, "GET", "/api/handles")
        assert "phk_" not in json.dumps(shown)
        assert "phk_" not in repr(panel.recorder.events) + repr(panel.book.entries)

    async def test_a_deployment_without_a_vault_has_none_of_it(self):
        async with (
            management(credentials=None, handles=None, audit=None, journal=None) as panel,
            aiohttp.ClientSession(panel.base) as client,
        ):
            for path in ("/api/api-credentials", "/api/handles", "/api/audit"):
                assert (await call(panel, client, "GET", path))[0] == 404


SUBJECTS = {
    "a session by its id": ("session/one", {"windows": 1, "sessions": 1, "conversations": 1, "events": 1}),
    "a session by its key": (
        f"session/{key_of('one')}",
        {"windows": 1, "sessions": 1, "conversations": 1, "events": 1},
    ),
    "an address": (
        "ip/203.0.113.9",
        {"windows": 1, "sessions": 1, "conversations": 1, "bans": 1, "events": 1},
    ),
    "an organization": (
        "organization/acme",
        {"windows": 1, "sessions": 1, "conversations": 1, "credentials": 1, "handles": 0, "costs": 0, "events": 1},
    ),
    "a subject that is not stored": (
        "ip/198.51.100.1",
        {"windows": 0, "sessions": 0, "conversations": 0, "bans": 0, "events": 0},
    ),
}


class TestErasure:
    async def fill(self, panel):
        for name, organization, client in (("one", "acme", "203.0.113.9"), ("two", "other", "203.0.113.10")):
            session = Session(key_of(name), organization, 0.0, panel.clock.now(), "203.0.113.0/24", client)
            await panel.sessions.create(session, seal_of(name), 3600.0)
            await panel.sessions.own(f"thread-{name}", session.key, 3600.0, panel.clock.now())
        panel.rates.take([Ask(BURST, key_of("one"))], panel.clock.monotonic())
        panel.rates.take([Ask(LIMITS[0], "203.0.113.9")], panel.clock.monotonic())
        panel.rates.take([Ask(LIMITS[1], "acme")], panel.clock.monotonic())
        await panel.bans.ban("203.0.113.9", panel.clock.now() + 60, "test")
        panel.recent.record(event(organization="acme", session=key_of("one")[:8], client_ip="203.0.113.9"))
        panel.recent.record(event(organization="other", session=key_of("two")[:8], client_ip="203.0.113.10"))

    @pytest.mark.parametrize(("path", "erased"), SUBJECTS.values(), ids=SUBJECTS)
    async def test_it_deletes_and_says_what(self, panel, client, path, erased):
        await self.fill(panel)
        status, answer = await call(panel, client, "DELETE", f"/api/subjects/{path}")
        assert (status, answer["erased"]) == (200, erased)
        assert await panel.sessions.get(key_of("two"), seal_of("two"), panel.clock.now()) is not None
        assert "DATA_ERASED" in panel.recorder.names()
        assert panel.book.entries[0]["action"] == "subject.erase"
        if erased["sessions"]:
            assert await panel.sessions.get(key_of("one"), seal_of("one"), panel.clock.now()) is None

    async def test_an_ipv6_client_is_erased_by_its_prefix(self, panel, client):
        panel.recent.record(event(client_ip="2001:db8:1:2::5"))
        _, answer = await call(panel, client, "DELETE", "/api/subjects/ip/2001:db8:1:2::9")
        assert answer["erased"]["events"] == 1


async def test_another_policy_is_judged_beside_the_one_in_force(panel, client):
    yaml = "version: 1\nbackend: { url: http://127.0.0.1:3001 }\nmode: observe\n"
    status, shown = await call(panel, client, "POST", "/api/policy/check", {"yaml": yaml}, role="operator")
    assert (status, shown["ok"], shown["problems"]) == (200, True, [])
    _, shown = await call(panel, client, "POST", "/api/policy/diff", {"yaml": yaml}, role="operator")
    assert shown["changes"] == [{"path": "mode", "before": "enforce", "after": "observe"}]
    panel.parts.history.take(served())
    _, shown = await call(panel, client, "POST", "/api/policy/replay", {"yaml": yaml}, role="operator")
    assert (shown["requests"], shown["more"], shown["less"]) == (1, [], [])
    for wrong in ({}, {"yaml": ""}, {"yaml": 1}, {"yaml": yaml, "force": True}):
        assert (await call(panel, client, "POST", "/api/policy/check", wrong, role="operator"))[0] == 400
    too_large = {"yaml": "#" * (64 * 1024)}
    assert (await call(panel, client, "POST", "/api/policy/check", too_large, role="operator"))[0] == 413


async def test_the_policy_is_shown_as_written_with_its_reloads_and_values(panel, client):
    _, shown = await call(panel, client, "GET", "/api/policy", role="viewer")
    assert shown["yaml"].startswith("version: 1\n")
    assert shown["reloads"] == [
        {"at": "2027-01-15T08:00:00.000Z", "successful": False, "digest": "ab12", "problems": ["policy.yaml:3:1: bad"]}
    ]
    for path, organization in (("/api/policy", "acme"), ("/api/policy?only=state", "*")):
        _, shown = await call(panel, client, "GET", path, role="viewer", organization=organization)
        assert set(shown) == {"digest", "mode", "loaded_at", "successful"}
    _, shown = await call(panel, client, "GET", "/api/policy/values", role="viewer")
    assert shown == {"values": [{"path": "mode", "value": "enforce", "origin": "default"}], "count": 1}


async def test_what_is_known_of_one_request(panel, client):
    panel.parts.history.take(served(request_id="r-1", organization="acme"))
    for organization, known in (("*", ["r-1"]), ("acme", ["r-1"]), ("other", [])):
        _, shown = await call(panel, client, "GET", "/api/why/r-1", organization=organization)
        assert [line["request_id"] for line in shown["lines"]] == known
