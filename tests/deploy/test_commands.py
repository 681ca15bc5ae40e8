"""Each `sidecar` command that a document shows is one that the command line takes, with these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sidecar.cli import parse
from tests.support.policies import BASE, read

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("deploy/**/*.md"),
    *ROOT.glob("sidecar/**/*.md"),
]
SHOWN = re.compile(r"^(?:    )?(?:[^`\n#]*[|(] *)?(sidecar [a-z].*)$", re.MULTILINE)
INLINE = re.compile(r"`(sidecar [a-z][^`]*)`")
NEEDED = re.compile(r"arguments .*(?:is|are) required")
ENDS = {"|", ";", "&&", "&", ">", ")"}


def commands(path: Path) -> set[str]:
    text = path.read_text()
    return {found.strip() for pattern in (SHOWN, INLINE) for found in pattern.findall(text) if "`" not in found}


def words(command: str) -> list[str]:
    """Split as a shell would, up to where the command ends; comments and placeholders aside."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|;&<>()")
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if word in ENDS:
            break
        found.append(word)
    return found


CASES = [
    pytest.param(command, id=f"{path.relative_to(ROOT)}: {command[:40]}")
    for path in sorted(DOCUMENTS)
    for command in sorted(commands(path))
]


def exit_code(argv: list[str]) -> int | str | None:
    try:
        parse(argv)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize("command", CASES)
def test_the_command_line_takes_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, *argv = words(command)
    code = exit_code(argv)
    said = capsys.readouterr().err
    # A command that is only named (`sidecar run`) may lack what it needs; it must not be unknown or misspelt.
    named = len(argv) <= 2 and NEEDED.search(said) is not None
    assert code == 0 or named, said


def test_every_page_stands_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert [
        path.name for path in ROOT.glob("docs/*.md") if path.name != "README.md" and f"({path.name})" not in index
    ] == []


def test_there_are_many() -> None:
    assert len(CASES) > 25


def test_every_pattern_of_the_documents_can_be_named_in_a_policy() -> None:
    page = (ROOT / "docs/redaction.md").read_text()
    listed = page.partition("## Patterns\n\n")[2].partition("\n\n")[0]
    names = re.findall(r"`(\w+)`", listed)
    assert len(names) > 50
    assert read(f"{BASE}redaction: {{ patterns: [{', '.join(names)}] }}\n").schema.redaction.patterns == tuple(names)
