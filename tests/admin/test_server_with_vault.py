"""The admin API over the real vault: keys go in, work, and come out nowhere."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import asynccontextmanager, closing

import aiohttp
import pytest

from sidecar.telemetry.fanout import Fanout
from sidecar.telemetry.log import Log
from sidecar.telemetry.recent_events import RecentEvents
from sidecar.vault.database import WAIT_SECONDS
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder
from tests.support.management import management
from tests.support.vaults import OPENAI_KEY, OTHER_KEY, open_vault


@asynccontextmanager
async def running(folder):
    """A listener over a vault in a file, and a log beside it; both on one clock."""
    clock, recent = FakeClock(), RecentEvents()
    log = Log.to(None, folder / "app.log", clock)
    events = Fanout([Recorder(), recent, log])

    async def verify(anchors):
        return (await vault.verify_audit(anchors=vault.anchors(anchors))).as_json()

    async with (
        open_vault(f"sqlite:///{folder / 'vault.db'}", clock=clock, events=events) as vault,
        management(
            events=events,
            recent=recent,
            credentials=vault.credentials,
            handles=vault.handles,
            audit=vault.audit,
            journal=vault.journal,
            verify_audit=verify,
        ) as panel,
        aiohttp.ClientSession(panel.base) as client,
    ):

        async def call(method, path, body=None, role="admin", organization="acme"):
            async with client.request(method, path, json=body, headers=panel.bearer(role, organization)) as response:
                return response.status, await response.json()

        yield vault, call, log, clock
    log.close()


async def test_a_key_goes_in_works_is_rotated_and_leaves_no_trace(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    said = []
    async with running(tmp_path) as (vault, call, log, clock):
        status, made = await call("POST", "/api/api-credentials", {"provider": "openai", "value": OPENAI_KEY})
        assert (status, made["last_four"], made["state"]) == (201, OPENAI_KEY[-4:], "active")
        found = await vault.credential("acme", "openai", clock.now())
        assert found.value.reveal() == f"Bearer {OPENAI_KEY}"

        said.append(await call("POST", f"/api/api-credentials/{made['id']}/rotate", {"value": OTHER_KEY}))
        assert said[-1][0] == 200
        found = await vault.credential("acme", "openai", clock.now())
        assert found.value.reveal() == f"Bearer {OTHER_KEY}"

        said.append(await call("PUT", f"/api/api-credentials/{made['id']}", {"expires_at": clock.now() + 60}))
        assert said[-1][0] == 200
        said.append(await call("GET", "/api/api-credentials", role="viewer"))
        said.append(await call("GET", "/api/events", role="viewer"))
        said.append(await call("DELETE", f"/api/api-credentials/{made['id']}"))
        said.append(await call("GET", "/api/audit", role="viewer"))
        actions = [(entry["action"], entry["outcome"]) for entry in said[-1][1]["entries"]]
        assert actions == [
            ("audit.list", "done"),
            ("credential.delete", "done"),
            ("credential.list", "done"),
            ("credential.update", "done"),
            ("credential.rotate", "done"),
            ("credential.create", "done"),
        ]
        verdict = await vault.verify_audit()
        assert verdict.faults == ()
        assert log.flush()
    written = (tmp_path / "app.log").read_text() + caplog.text + json.dumps([made, *said])
    written += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.glob("vault.db*"))
    assert "CREDENTIAL_CREATED" in written
    assert "CREDENTIAL_ROTATED" in written
    for key in (OPENAI_KEY, OTHER_KEY):
        assert key not in written


REFUSED = {
    "a key of another shape": ({"provider": "openai", "value": "nonsense"}, 400, "REQUEST_MALFORMED"),
    "an unknown provider": ({"provider": "none", "value": OPENAI_KEY}, 400, "REQUEST_MALFORMED"),
    "a date in the past": ({"provider": "openai", "value": OPENAI_KEY, "expires_at": 5}, 400, "REQUEST_MALFORMED"),
    "a name that is taken": ({"provider": "openai", "value": OPENAI_KEY}, 409, "CONFLICT"),
}


@pytest.mark.parametrize(("body", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_the_vault_refuses_is_said_and_written_down_once(tmp_path, body, status, code):
    async with running(tmp_path) as (_, call, _, _):
        await call("POST", "/api/api-credentials", {"provider": "openai", "value": OTHER_KEY})
        answer = await call("POST", "/api/api-credentials", body)
        assert (answer[0], answer[1]["code"]) == (status, code)
        assert OPENAI_KEY not in json.dumps(answer)
        _, shown = await call("GET", "/api/audit")
        assert [(e["action"], e["outcome"]) for e in shown["entries"]] == [
            ("audit.list", "done"),
            ("credential.create", "refused"),
            ("credential.create", "done"),
        ]


async def test_organizations_do_not_see_one_another(tmp_path):
    async with running(tmp_path) as (_, call, _, _):
        _, made = await call("POST", "/api/api-credentials", {"provider": "openai", "value": OPENAI_KEY})
        for method, tail, body in (
            ("PUT", "", {"name": "x"}),
            ("DELETE", "", None),
            ("POST", "/rotate", {"value": OTHER_KEY}),
        ):
            path = f"/api/api-credentials/{made['id']}{tail}"
            assert (await call(method, path, body, organization="other"))[0] == 404
        assert (await call("GET", "/api/api-credentials", organization="other"))[1] == {"credentials": []}
        assert (await call("GET", "/api/audit", organization="acme"))[0] == 200
        assert (await call("DELETE", f"/api/api-credentials/{made['id']}", organization="*"))[0] == 200


async def test_handles_and_erasure(tmp_path):
    async with running(tmp_path) as (vault, call, _, clock):
        await call("POST", "/api/api-credentials", {"provider": "openai", "value": OPENAI_KEY})
        status, made = await call("POST", "/api/handles", {"provider": "openai", "name": "backend"})
        assert status == 201
        grant = await vault.handles.resolve(made["handle"], "openai", clock.now())
        assert grant.organization == "acme"
        _, shown = await call("GET", "/api/handles")
        assert made["handle"] not in json.dumps(shown)
        status, answer = await call("DELETE", "/api/subjects/organization/acme")
        assert status == 200
        assert (answer["erased"]["credentials"], answer["erased"]["handles"]) == (1, 1)
        assert (await call("GET", "/api/api-credentials"))[1] == {"credentials": []}
        assert (await call("GET", "/api/handles"))[1] == {"handles": []}


async def test_the_audit_log_is_verified_as_the_command_does(tmp_path):
    async with running(tmp_path) as (vault, call, _, _):
        await call("POST", "/api/api-credentials", {"provider": "openai", "value": OPENAI_KEY})
        status, verdict = await call("GET", "/api/audit/verify", role="viewer", organization="*")
        assert (status, verdict["whole"], verdict["faults"]) == (200, True, [])
        assert [each["statement"] for each in verdict["statements"]] == [
            "chain",
            "authors",
            "beginning",
            "end",
            "present",
        ]
        assert verdict == (await vault.verify_audit()).as_json()
        _, anchored = await call("GET", f"/api/audit/verify?anchor={verdict['anchor']}", organization="*")
        assert [each["proven"] for each in anchored["statements"]] == [True] * 5
        assert (await call("GET", "/api/audit/verify?anchor=nonsense", organization="*"))[0] == 400
        async with vault._database.write() as write:
            await write.run("UPDATE audit SET actor = 'someone else' WHERE seq = 1")
        _, verdict = await call("GET", "/api/audit/verify", organization="*")
        assert (verdict["whole"], verdict["faults"]) == (False, ["entry 1: changed"])


async def test_a_new_key_that_could_not_be_tested_does_not_take_the_place_of_the_old_one(tmp_path):
    async with running(tmp_path) as (vault, call, _, clock):
        body = {"provider": "local", "value": "first-key", "hosts": ["localhost:1"]}
        status, made = await call("POST", "/api/api-credentials", body)
        assert status == 201
        rotated = await call("POST", f"/api/api-credentials/{made['id']}/rotate", {"value": "second-key", "test": True})
        assert (rotated[0], rotated[1]["error"][:28]) == (400, "local could not be asked (Co")
        assert (await vault.credential("acme", "local", clock.now())).value.reveal() == "first-key"


async def test_a_locked_database_holds_a_request_for_one_wait_only(tmp_path):
    async with running(tmp_path) as (_vault, call, _log, _clock):
        await call("GET", "/api/api-credentials")
        with closing(sqlite3.connect(tmp_path / "vault.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            began = time.monotonic()
            status, refusal = await call("POST", "/api/api-credentials", {"provider": "openai", "value": OPENAI_KEY})
            assert time.monotonic() - began < WAIT_SECONDS + 1.5, "not once more for the audit log"
            assert (status, refusal["code"]) == (503, "STORE_UNAVAILABLE")
            other.execute("ROLLBACK")
        status, _ = await call("POST", "/api/api-credentials", {"provider": "openai", "value": OPENAI_KEY})
        assert status == 201
