"""Paths as patterns of routes: ids become `*`, words stay."""

from __future__ import annotations

import pytest

from sidecar.policy.routes import Pattern
from sidecar.suggest.path_patterns import path_pattern


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/chat", "/api/chat"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/threads/6c1f9b0e-3f0a-4c58-9a3a-0f3f1c2d4e5f/runs/stream", "/threads/*/runs/stream"),
        ("/api/v1/chats/12345", "/api/v1/chats/*"),
        ("/_stcore/upload_file/8f14e45fceea167a/x", "/_stcore/upload_file/*/x"),
        ("/api/chat-completions-v2", "/api/chat-completions-v2"),
        ("/files/a%20b", ""),
        ("/a" * 40, ""),
        ("/" + "a" * 300, ""),
        ("/x;jsessionid=1", "/x"),
    ],
)  # fmt: skip
def test_patterns(path, expected) -> None:
    assert path_pattern(path) == expected
    if expected:
        assert Pattern(expected).expression()
