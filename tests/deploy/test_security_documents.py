"""Tests and files that the threat model and the security review name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    if "node_modules" not in path.parts
    for name in re.findall(r"(?m)^\s*(?:async )?def (test_\w+)", path.read_text())
}


@pytest.mark.parametrize("page", ["THREAT_MODEL.md", "docs/security-review.md", "docs/verify.md", "SECURITY.md"])
def test_what_is_named_exists(page: str):
    text = (ROOT / page).read_text()
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert tests <= DEFINED
    files = set(re.findall(r"`((?:tests|docs|sidecar|deploy)/[\w./*-]+)`", text))
    assert all(any(ROOT.glob(path)) for path in files), files
