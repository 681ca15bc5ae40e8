"""The check of images says which are named by a tag alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
PINNED = f"{BASE}@sha256:{'a1' * 32}"


def pins(*arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, str(ROOT / ".ci" / "pins"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_what_this_project_names_is_listed() -> None:
    code, lines = pins()
    assert code == 0
    assert f"Dockerfile: {BASE} has no digest" in lines
    assert pins("--require")[0] == 1


def test_a_base_that_is_given_by_digest_will_do() -> None:
    assert pins("--require", "--build-arg", f"PYTHON={PINNED}", str(ROOT / "Dockerfile")) == (0, [])


@pytest.mark.parametrize(
    ("image", "code"),
    [
        pytest.param(PINNED, 0, id="digest"),
        pytest.param(BASE, 1, id="tag"),
        pytest.param(f"{BASE}@sha256:a1", 1, id="half-a-digest"),
        pytest.param("registry.example.com/chat", 1, id="nothing"),
    ],
)
def test_a_manifest(image: str, code: int, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(f"spec:\n  containers:\n    - image: {image}\n    - name: b\n      image: '{PINNED}'\n")
    found, lines = pins("--require", str(file))
    assert (found, len(lines)) == (code, code)
