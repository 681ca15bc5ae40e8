"""docs/faq.md: its commands run against a running sidecar."""

from __future__ import annotations

from pathlib import Path

from tests.support.backends import Serving
from tests.support.pages import Shell, blocks
from tests.support.sidecar import threaded


def test_every_command_runs(tmp_path: Path) -> None:
    (tmp_path / "message.json").write_text('{"message": "hello"}')
    shell = Shell(tmp_path)
    with Serving() as backend, threaded(tmp_path, backend.url) as shell.running:
        stream, violations, explained = map(shell.page, blocks("faq.md"))
    assert stream
    assert violations == ""
    assert "refused: 403 CORS_BLOCKED" in explained
