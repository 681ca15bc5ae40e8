"""Render an overlay with the real kustomize, where there is one that knows components."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import find

OLDEST = (4, 0)
"""kustomize 4 knows components and `labelSelector` in patches as they are used here."""


def command() -> list[str]:
    """Return the command that renders a folder, or skip the test and say so: Debian's kubectl is too old."""
    for argv, version in ((["kustomize", "build"], ["version"]), (["kubectl", "kustomize"], ["version", "--client"])):
        tool = find(argv[0])
        if tool is None:
            continue
        said = subprocess.run([tool, *version], capture_output=True, text=True, check=False, timeout=60).stdout
        found = re.search(r"(?:Kustomize Version: )?v(\d+)\.(\d+)\.\d+\s*$", said)
        if found and (int(found[1]), int(found[2])) >= OLDEST:
            return [tool, *argv[1:]]
    pytest.skip("neither kustomize 4 nor a kubectl that has it is installed")


def render(folder: Path) -> subprocess.CompletedProcess[str]:
    """Return what comes out of an overlay."""
    return subprocess.run([*command(), str(folder)], capture_output=True, text=True, check=False, timeout=60)
