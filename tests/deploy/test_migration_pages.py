"""docs/from-express.md and docs/from-nginx.md: their policies and snippets compile, their commands run, their values are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.guards.response_headers.security_header_presets import PRESETS
from sidecar.policy.schema.policy_schema import PolicySchema
from tests.support.policies import read

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / f"docs/{name}.md").read_text() for name in ("from-express", "from-nginx")}
HEADER = re.compile(r"[A-Z][A-Za-z-]+-[A-Za-z-]+")
BASE = {"version": 1, "backend": {"url": "http://127.0.0.1:3001"}}


def snippets() -> dict[str, dict[str, Any]]:
    """Return the pieces of policy in the tables, each put where it belongs."""
    found: dict[str, dict[str, Any]] = {}
    for name, page in PAGES.items():
        for row in re.findall(r"^\|.*\|$", page, re.MULTILINE):
            for text in re.findall(r"`([^`]+)`", row):
                try:
                    value = yaml.safe_load(text)
                except yaml.YAMLError:
                    continue
                if not isinstance(value, dict):
                    continue
                if all(HEADER.fullmatch(str(key)) for key in value):
                    value = {"security_headers": value}
                if value.keys() <= PolicySchema.model_fields.keys():
                    found[f"{name}: {text}"] = value
    return found


SNIPPETS = snippets()


def test_there_are_many() -> None:
    assert len(SNIPPETS) > 30


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_compiles(name: str) -> None:
    read(yaml.safe_dump(BASE | SNIPPETS[name]))


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run(name: str, tmp_path: Path) -> None:
    (policy,) = re.findall(r"^```yaml\n(version: 1\n.*?)^```$", PAGES[name], re.MULTILINE | re.DOTALL)
    (script,) = re.findall(r"^```sh\n(.*?)^```$", PAGES[name], re.MULTILINE | re.DOTALL)
    (tmp_path / "policy.yaml").write_text(policy)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    decided = "refused: 403 FORBIDDEN" if name == "from-nginx" else "passes"
    assert decided in done.stdout


def test_the_column_of_the_preset_is_the_preset() -> None:
    rows = re.findall(r"^\| `([A-Z][\w-]+)` \| [^|]+ \| `([^`]+)` \|", PAGES["from-express"], re.MULTILINE)
    assert len(rows) >= 8
    app = PRESETS["app"]([])
    assert {name: value for name, value in rows if name in app} == {name: app[name] for name, _ in rows if name in app}
