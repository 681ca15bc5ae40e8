"""Find the real servers that a test needs; say aloud when one is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def find(tool: str) -> str | None:
    """Return the tool's path; PostgreSQL's own programs live under its version, outside the PATH."""
    found = shutil.which(tool, path=SEARCH)
    if found:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{tool}"), key=lambda p: float(p.parts[-3]))
    return str(versions[-1]) if versions else None


def need(tool: str) -> str:
    """Return the tool's path, or skip the test and say so; in CI a missing tool is a failure."""
    found = find(tool)
    if found:
        return found
    says = f"{tool} is not installed: run tests/support/install-tools as root"
    if os.environ.get("CI"):
        pytest.fail(says)
    pytest.skip(says)
