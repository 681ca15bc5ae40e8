"""What the audit of locks says, and what the bill of materials lists."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / ".venv-audit" / "bin" / "cyclonedx-py"


def audit():
    loader = importlib.machinery.SourceFileLoader("audit", str(ROOT / ".ci" / "audit"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("audit", loader))
    loader.exec_module(module)
    return module


FINE = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}, {"id": "CVE-2"}]}
UNKNOWN = {"name": "c", "version": "3", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "bad", "says"),
    [
        ([FINE], 0, "1 packages asked, 0 unknown to the registry, 0 with a known"),
        (
            [FINE, BAD, UNKNOWN],
            1,
            "x.lock: b 2: PYSEC-1, CVE-2\nx.lock: 2 packages asked, 1 unknown to the registry, 1 with",
        ),
        ([UNKNOWN], 0, "x.lock: SKIPPED, the registry does not answer"),
        (None, 0, "x.lock: SKIPPED, the registry does not answer"),
    ],
    ids=["fine", "vulnerable", "a plain mirror", "offline"],
)
def test_the_audit_counts_and_says_what_it_skips(packages, bad, says, capsys):
    assert audit().report("x.lock", packages) == bad
    said = capsys.readouterr()
    assert says in said.out + said.err


def test_every_locked_package_is_in_the_bill_of_materials(tmp_path):
    if not TOOL.exists():
        pytest.skip("the tools are not installed: run `make sbom`")
    path = tmp_path / "sbom.json"
    command = [
        TOOL,
        "requirements",
        "--pyproject",
        "pyproject.toml",
        "--short-PURLs",
        "--output-reproducible",
        "--of",
        "JSON",
    ]
    subprocess.run([*command, "-o", path, "requirements.lock"], cwd=ROOT, check=True, capture_output=True)
    listed = {(each["name"].lower(), each["version"]) for each in json.loads(path.read_text())["components"]}
    locked = re.findall(r"(?m)^([a-z0-9._-]+)(?:\[[^\]]*\])?==([^ \\]+)", (ROOT / "requirements.lock").read_text())
    assert listed == set(locked)
