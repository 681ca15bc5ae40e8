"""One sidecar, as a process of its own, that most promises of the contract are held against."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import Serving
from tests.support.sidecar import MASTER, TRUSTED, environment, sidecar
from tests.support.world import World, reply

JWT = "a secret of admin tokens, long enough"
LIMITS = [
    {"name": "ip-minute", "per": "ip", "limit": 60, "window": "1m"},
    {"name": "ip-hour", "per": "ip", "limit": 1000, "window": "1h"},
    {"name": "org-hour", "per": "organization", "limit": 5000, "window": "1h"},
]


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("world")
    secrets = {"ENCRYPTION_KEY": MASTER, "JWT_SECRET": JWT}
    chat: dict[str, Any] = {
        "name": "chat",
        "match": {"path": "/api/chat", "methods": ["POST"]},
        "protocol": "plain",
        "message": {"fields": ["$.message"]},
        "session": "required",
        "rate_limits": [{"name": "chat-burst", "per": "session", "limit": 10, "window": "10s"}],
    }
    text: dict[str, Any] = {
        "name": "text",
        "match": {"path": "/text", "methods": ["POST"]},
        "message": {"fields": ["$.message"], "max_chars": 100},
    }
    openai: dict[str, Any] = {
        "name": "openai",
        "match": {"path": "/v1/chat/completions", "methods": ["POST"]},
        "protocol": "openai",
        "message": {},
    }
    with (
        Serving(reply) as app,
        sidecar(
            folder,
            app.url,
            secrets,
            backend={"timeouts": {"connect": "1s", "first_byte": "1s", "idle": "2s"}},
            requests={"hosts": ["chat.example"], "concurrent_per_client": 20},
            clients={"deny": ["127.0.0.66/32"], "trusted_proxies": [f"{TRUSTED}/32"]},
            sessions={"mode": "issue"},
            rate_limits=LIMITS,
            content_filter={"patterns": [{"name": "bad", "pattern": "forbidden word"}]},
            routes=[
                chat,
                text,
                openai,
                text | {"name": "strip", "match": {"path": "/strip"}, "message": text["message"] | {"markup": "strip"}},
                {
                    "name": "keyed",
                    "match": {"path": "/keyed"},
                    "credential": {"provider": "openai", "as": "header"},
                },
            ],
        ) as run,
    ):
        yield World(run, app, {**os.environ, **environment(folder, **secrets), "SIDECAR_POLICY": str(run.policy)})
