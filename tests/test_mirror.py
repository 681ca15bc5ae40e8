"""Tests mirror `sidecar/`: the test of a module has its name and stands in the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "sidecar"
OTHER = {"support", "integration", "backends", "browser", "fuzz", "vectors", "acceptance", "clients", "deploy"}
"""Folders that test the product as a whole, and what they share."""


def unit_tests() -> list[Path]:
    """Return the test files of the mirrored folders, relative to `tests/`."""
    found = (path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))
    return sorted(path for path in found if len(path.parts) > 1 and path.parts[0] not in OTHER)


def modules_in(folder: Path) -> set[str]:
    return {path.stem for path in (SOURCE / folder).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("path", unit_tests(), ids=str)
def test_each_test_file_is_named_after_a_module(path: Path) -> None:
    """`test_cors.py` tests `cors.py`; what needs several files says which part: `test_vault_replicas.py`."""
    subject = path.stem.removeprefix("test_")
    modules = modules_in(path.parent)
    assert any(subject == name or subject.startswith(f"{name}_") for name in modules), (
        f"tests/{path}: no module of sidecar/{path.parent}/ has that name; it has {sorted(modules)}"
    )


def test_each_folder_of_the_source_has_tests() -> None:
    folders = {
        path.parent.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if modules_in(path.parent.relative_to(SOURCE))
    }
    untested = {str(folder) for folder in folders if not list((TESTS / folder).glob("test_*.py"))}
    assert untested == set()
