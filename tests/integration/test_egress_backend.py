"""A backend as people write them (the openai client as it comes) behind a sidecar: it chats, and never has a key."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.egress import ACME_KEY, GLOBEX_KEY, Outbound, outbound
from tests.support.language_model import WORDS, language_model
from tests.support.processes import Process, free_port
from tests.support.raw import Closed, Message, connect, get, post
from tests.support.sidecar import MASTER, environment, until
from tests.support.tee import Tee, tee

PROGRAM = Path(__file__).parent.parent / "support" / "openai_backend.py"
TEXT = "".join(WORDS)
ROUTES = [
    {"name": "chat", "match": {"path": "/chat", "methods": ["POST"]}},
    {
        "name": "passed",
        "match": {"path": "/passed", "methods": ["POST"]},
        "credential": {"provider": "openai", "as": "handle"},
    },
]
SIGNED = re.compile(r"phk_1\.[A-Za-z0-9_-]+")


@dataclass
class Services:
    """Browser → sidecar → backend → (tap) → egress → provider."""

    out: Outbound
    backend: Process
    backend_port: int
    tap: Tee
    handle: str

    def chat(self, path: str, *lines: str, host: str = "acme.example.com", **asked: Any) -> tuple[Message, Any]:
        """Ask as a browser would."""
        body = json.dumps({"message": "Hi", **asked}).encode()
        with self.out.running.connect() as client:
            reply = client.send(post(path, body, *lines, host=host)).response()
        return reply, json.loads(reply.body)

    def directly(self, authorization: str) -> int:
        """Ask the backend itself, and return the status that its provider call ended with; 0: it was broken off."""
        with connect(self.backend_port) as client:
            raw = post("/passed", b'{"message": "Hi"}', f"Authorization: Bearer {authorization}")
            try:
                return client.send(raw).response().status
            except Closed:
                return 0  # a revocation ends what runs, too

    def session(self, host: str) -> str:
        with self.out.running.connect() as client:
            reply = client.send(get("/api/session", method="POST", host=host)).response()
        assert reply.status == 201
        return str(json.loads(reply.body)["sessionId"])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("backend")
    port = free_port()
    with (
        language_model(folder, ACME_KEY, GLOBEX_KEY) as model,
        outbound(folder, model, f"http://127.0.0.1:{port}", routes=ROUTES, sessions={"mode": "issue"}) as out,
        tee(out.port) as tap,
    ):
        handle = out.handle("acme")[0]
        known = {"OPENAI_BASE_URL": f"http://127.0.0.1:{tap.port}/openai/v1", "OPENAI_API_KEY": handle}
        backend = Process((sys.executable, str(PROGRAM), str(port)), env=known)
        try:
            backend.until_listening(port, seconds=60)
            yield Services(out, backend, port, tap, handle)
        finally:
            backend.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_backend_that_holds_a_handle_chats(stage: Services, stream: bool):
    model = stage.out.model
    told, counted = model.tokens(ACME_KEY), stage.out.counted("acme")
    reply, said = stage.chat("/chat", stream=stream)
    assert (reply.status, said) == (200, {"reply": TEXT})
    assert model.calls[-1].key == ACME_KEY
    reported = [now - then for now, then in zip(model.tokens(ACME_KEY), told, strict=True)]
    assert reported == [now - then for now, then in zip(stage.out.counted("acme"), counted, strict=True)]
    assert min(reported) > 0


def test_neither_its_environment_nor_its_bytes_nor_its_logs_hold_a_key(stage: Services):
    assert stage.chat("/chat", stream=True)[0].status == 200
    assert stage.chat("/passed")[0].status == 200
    said = stage.backend.output()
    assert "environment {" in said
    assert stage.handle in said
    assert stage.handle.encode() in stage.tap.sent
    for key in (ACME_KEY, GLOBEX_KEY):
        assert key not in said
        assert key.encode() not in stage.tap.sent + stage.tap.received
        assert key not in (stage.out.running.policy.parent / "events.log").read_text()
        assert key not in stage.out.running.fetch("/metrics")[1]


def test_a_handle_of_the_request_is_worth_its_organizations_key(stage: Services):
    model, out = stage.out.model, stage.out
    told = {key: model.tokens(key) for key in (ACME_KEY, GLOBEX_KEY)}
    counted = {name: out.counted(name) for name in ("acme", "globex")}
    sessions = {host: stage.session(host) for host in ("acme.example.com", "globex.example.com")}
    calls = len(model.calls)
    for host, stream in (
        ("acme.example.com", True),
        ("globex.example.com", True),
        ("globex.example.com", False),
    ):
        reply, said = stage.chat(
            "/passed", f"X-Session-ID: {sessions[host]}", "Authorization: Bearer browser", host=host, stream=stream
        )
        assert (reply.status, said) == (200, {"reply": TEXT})
    assert [call.key for call in model.calls[calls:]] == [ACME_KEY, GLOBEX_KEY, GLOBEX_KEY]
    for name, key in (("acme", ACME_KEY), ("globex", GLOBEX_KEY)):
        reported = [now - then for now, then in zip(model.tokens(key), told[key], strict=True)]
        assert reported == [now - then for now, then in zip(out.counted(name), counted[name], strict=True)]
        assert min(reported) > 0
    line = out.running.logged(route="egress:openai", organization="globex", category="ACCESS")
    assert len(line["session"]) == 8


def test_a_handle_ends_with_its_session(stage: Services):
    session = stage.session("acme.example.com")
    assert stage.chat("/passed", f"X-Session-ID: {session}")[0].status == 200
    handle = SIGNED.findall(stage.backend.output())[-1]
    assert stage.directly(handle) == 200
    with stage.out.running.connect() as client:
        raw = get("/api/session", f"X-Session-ID: {session}", method="DELETE", host="acme.example.com")
        assert client.send(raw).response().status == 204
    assert stage.directly(handle) == 401
    reply, said = stage.chat("/passed", f"X-Session-ID: {session}")
    assert (reply.status, said["code"]) == (400, "INVALID_SESSION_ID")


def test_a_handle_that_an_operator_revokes_is_refused_within_a_second(stage: Services):
    handle, book = stage.out.handle("acme")
    assert stage.directly(handle) == 200
    env = {**os.environ, **environment(stage.out.running.policy.parent, ENCRYPTION_KEY=MASTER)}
    command = [sys.executable, "-m", "sidecar", "handle", "revoke", "acme", book]
    revoked = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert revoked.returncode == 0, revoked.stderr
    began = time.monotonic()
    until(lambda: stage.directly(handle) == 401, "the handle to be refused", seconds=1)
    assert time.monotonic() - began < 1
