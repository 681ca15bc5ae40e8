"""The documents: their links lead somewhere, their YAML is YAML, their commands exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from sidecar.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")


def fences(language: str) -> list[pytest.param]:
    return [
        pytest.param(body, id=f"{path.name}-{number}")
        for path in DOCUMENTS
        for number, (kind, body) in enumerate(FENCE.findall(path.read_text()))
        if kind == language
    ]


def anchors(path: Path) -> set[str]:
    """Return what a forge makes of the headings: lower case, blanks to dashes, marks dropped."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for link in LINK.findall(CODE.sub("", FENCE.sub("", path.read_text()))):
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        assert target.exists(), f"{path.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{path.name} links to {link}"


@pytest.mark.parametrize("body", fences("yaml"))
def test_yaml_is_yaml(body):
    yaml.safe_load(body)


@pytest.mark.parametrize("body", fences("python"))
def test_python_is_python(body):
    ast.parse(body)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_exist(path):
    text = path.read_text()
    for command in re.findall(r"^(?:sidecar|python -m sidecar) ([a-z]+)", text, re.MULTILINE):
        assert command in COMMANDS
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE)) <= targets
