"""docs/faq.md: its commands run against a running sidecar."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.backends import Serving
from tests.support.sidecar import Running, environment, threaded

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/faq.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def sh(script: str, running: Running, folder: Path) -> str:
    script = script.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{running.public}")
    script = script.replace("/var/log/sidecar/events.log", str(running.log))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment(folder), "PATH": path, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_every_command_runs(tmp_path: Path) -> None:
    (tmp_path / "message.json").write_text('{"message": "hello"}')
    with Serving() as backend, threaded(tmp_path, backend.url) as running:
        stream, violations, explained = (sh(block, running, tmp_path) for block in BLOCKS)
    assert stream
    assert violations == ""
    assert "refused: 403 CORS_BLOCKED" in explained
