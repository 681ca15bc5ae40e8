"""A reload changes everything but the addresses that are listened on: also where lines are written, and whose tokens count."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.backends import Serving
from tests.support.raw import get
from tests.support.sidecar import policy_text, sidecar, until


def test_the_log_moves_to_another_file_and_leaves_access_lines_out(tmp_path: Path):
    with Serving() as backend, sidecar(tmp_path, backend.url) as running:
        with running.connect() as client:
            client.send(get("/first", "Connection: close")).response()
        running.logged(path="/first")
        other = tmp_path / "other.log"
        ports = running.public, running.management
        running.policy.write_text(
            policy_text(backend.url, tmp_path, *ports, events={"log": None, "file": str(other), "access": False})
        )
        until(other.exists, "the new file")
        for path in ("/second", "/third"):
            with running.connect() as client:
                client.send(get(path, "Origin: https://evil.example", "Connection: close")).response()
        until(lambda: b"/third" in other.read_bytes(), "a refusal in the new file")
        lines = [json.loads(line) for line in other.read_bytes().splitlines()]
        assert "CORS_BLOCKED" in {line["event"] for line in lines}
        assert "ACCESS" not in {line["category"] for line in lines}
        assert not [line for line in running.lines() if line["path"] == "/third"]


def test_a_reload_that_needs_keys_where_there_is_no_secret_is_refused(tmp_path: Path):
    with Serving() as backend, sidecar(tmp_path, backend.url) as running:
        ports = running.public, running.management
        route = {"name": "chat", "match": {"path": "/api/chat"}, "credential": {"provider": "openai"}}
        running.policy.write_text(policy_text(backend.url, tmp_path, *ports, routes=[route]))
        line = running.logged(event="POLICY_REJECTED")
        assert "ENCRYPTION_KEY is not set" in str(line["detail"])
        with running.connect() as client:
            assert client.send(get("/api/chat", "Connection: close")).response().status == 200
