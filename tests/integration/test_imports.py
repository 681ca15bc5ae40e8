"""What a running sidecar of a small policy has not imported, because nothing in its policy uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sidecar import MASTER, policy_text

PROGRAM = """
import asyncio, json, os, sys
from pathlib import Path
from sidecar.app import Sidecar
from sidecar.settings import read_settings

async def main():
    running = await Sidecar(read_settings(os.environ), Path(sys.argv[1]), os.environ).start()
    print(json.dumps(sorted(sys.modules)))
    await running.stop()

asyncio.run(main())
"""
SMALL = {
    "routes": [
        {
            "name": "chat",
            "match": {"path": "/api/chat", "methods": ["POST"]},
            "message": {"fields": ["$.message"]},
            "session": "required",
        }
    ],
    "sessions": {"mode": "issue"},
}
UNUSED = frozenset(
    {
        "asyncpg",
        "difflib",
        "jsonschema",
        "openai",
        "opentelemetry",
        "prometheus_client",
        "redis",
        "sidecar.demo",
        "sidecar.explain.diff",
        "sidecar.explain.evaluation",
        "sidecar.explain.replay",
        "sidecar.explain.why",
        "sidecar.messages.guardrail",
        "sidecar.messages.moderation",
        "sidecar.responses.held_answers",
        "sidecar.suggest.observer",
        "sidecar.suggest.yaml_text",
        "tiktoken",
    }
)
OF_A_VAULT = frozenset({"cryptography", "joserfc", "sidecar.vault.vault", "sqlite3"})


@pytest.mark.parametrize(
    ("environ", "unused"),
    [({}, UNUSED | OF_A_VAULT), ({"ENCRYPTION_KEY": MASTER}, UNUSED | {"joserfc"})],
    ids=["without a vault", "with a vault on SQLite"],
)
def test_a_small_policy_imports_little(tmp_path, environ, unused):
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_text("http://127.0.0.1:9", tmp_path, **SMALL))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, policy],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            "DATABASE_URL": "sqlite:///vault.db",
            **environ,
        },
    )
    assert unused.intersection(json.loads(done.stdout)) == frozenset()
