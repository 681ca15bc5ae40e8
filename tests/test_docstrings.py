"""Each public module, class and function says what it does, in plain words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = sorted((ROOT / "sidecar").rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("sidecar/**/*.md")])
MANNERED = re.compile(r"\b([Nn]obody|[Ww]hoever|[Ss]omebody|[Ss]trangers?|[Hh]is|hers|goodbye|of its own accord)\b")
"""Words for persons and for things as persons: the field's nouns (client, caller, peer, process) say which one."""


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Yield the public names without a docstring; nested functions, dunder methods and overloads need none."""
    if ast.get_docstring(tree) is None:
        yield "the module"
    yield from _without(tree.body, "")


def _without(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _without([*node.body, *node.orelse], prefix)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_") or any(_name(decorator) == "overload" for decorator in node.decorator_list):
                continue
            if ast.get_docstring(node) is None:
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _without(node.body, f"{prefix}{node.name}.")


def _name(decorator: ast.expr) -> str:
    return decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")


@pytest.mark.parametrize("path", SOURCE, ids=lambda path: str(path.relative_to(ROOT / "sidecar")))
def test_each_public_name_has_a_docstring(path: Path) -> None:
    assert list(undocumented(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("path", [*SOURCE, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_name_things_by_the_nouns_of_the_field(path: Path) -> None:
    found = [line.strip() for line in path.read_text().splitlines() if MANNERED.search(line)]
    assert found == []


def test_what_is_missing_is_found() -> None:
    text = '''
class A:
    def b(self): ...
    def _c(self): ...
    def __len__(self): ...
def d():
    """Does."""
    def e(): ...
if True:
    async def f(): ...
@typing.overload
def g(): ...
'''
    assert list(undocumented(ast.parse(text))) == ["the module", "A", "A.b", "f"]
