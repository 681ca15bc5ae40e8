"""One sidecar for the tests that need nothing special of its policy, before a backend that each test plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Backend
from tests.support.sidecar import Running, sidecar

ROUTES = [
    {"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "message": {"fields": ["$.message"]}},
    {"name": "upload", "match": {"path": "/upload"}, "max_body": "2GiB"},
    {"name": "small", "match": {"path": "/small"}, "max_body": "1KiB"},
]


@pytest.fixture(scope="session")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Backend]]:
    folder: Path = tmp_path_factory.mktemp("sidecar")
    with (
        Backend() as backend,
        sidecar(folder, backend.url, routes=ROUTES, websocket={"max_message": "64KiB"}) as running,
    ):
        yield running, backend


@pytest.fixture
def front(_stage: tuple[Running, Backend]) -> Running:
    """The running sidecar; tests leave it running."""
    return _stage[0]


@pytest.fixture
def backend(_stage: tuple[Running, Backend]) -> Iterator[Backend]:
    """Its backend, without any connection from an earlier test."""
    _stage[1].forget()
    yield _stage[1]
    _stage[1].forget()
