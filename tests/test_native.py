"""Which form of the modules is imported, asked of interpreters of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from sidecar.native import SOURCES, form

ROOT = Path(__file__).parents[1]
SUFFIX = EXTENSION_SUFFIXES[0]
MODULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["native"]["modules"]
SHOWN = "import sidecar, sidecar.admission; print(sidecar.FORM); print(sidecar.admission.__file__)"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of which one module is native."""
    folder = tmp_path / "sidecar"
    folder.mkdir()
    for name in ("a.py", f"a{SUFFIX}", "b.py"):
        (folder / name).write_text(name)
    digests = [f"{sha256(b'a.py').hexdigest()}  sidecar/a.py", f"{sha256(b'maker').hexdigest()}  deploy/native.py"]
    (tmp_path / SOURCES).write_text("\n".join(digests))
    return folder


def test_native_while_its_sources_are_the_same(package: Path):
    assert form(package, {}) == "native"
    (package / "b.py").write_text("changed")
    assert form(package, {}) == "native"
    (package / "a.py").write_text("changed")
    assert form(package, {}) == "interpreted: sidecar/a.py has changed since its native form was made"


def test_interpreted_until_all_is_there(package: Path):
    (package.parent / SOURCES).unlink()
    assert form(package, {}) == "interpreted"


@pytest.mark.parametrize(
    ("said", "expected"), [("off", "interpreted: SIDECAR_NATIVE is off"), ("on", "native"), ("", "native")]
)
def test_the_variable(package: Path, said: str, expected: str):
    assert form(package, {"SIDECAR_NATIVE": said}) == expected


def test_a_module_without_its_source_is_not_used(package: Path):
    (package / "a.py").unlink()
    assert form(package, {}).startswith("interpreted")


def run(folder: Path, **env: str) -> list[str]:
    command = [sys.executable, "-c", SHOWN]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def need_native() -> None:
    found = form(ROOT / "sidecar", {})
    if found != "native":
        assert not os.environ.get("CI"), f"`make native` should have compiled what is in [tool.native]: {found}"
        pytest.skip(f"{found}; run `make native`")


def test_what_an_interpreter_imports():
    need_native()
    at = ROOT / "sidecar/admission"
    assert run(ROOT, SIDECAR_NATIVE="off") == ["interpreted: SIDECAR_NATIVE is off", f"{at}.py"]
    assert run(ROOT) == ["native", f"{at}{SUFFIX}"]


def test_an_edited_checkout_is_interpreted(tmp_path: Path):
    need_native()
    shutil.copytree(ROOT / "sidecar", tmp_path / "sidecar", ignore=shutil.ignore_patterns("__pycache__"))
    for each in ROOT.glob("sidecar__mypyc.*"):
        shutil.copy(each, tmp_path)
    with (tmp_path / "sidecar/admission.py").open("a") as source:
        source.write("# edited\n")
    said = "interpreted: sidecar/admission.py has changed since its native form was made"
    assert run(tmp_path) == [said, f"{tmp_path}/sidecar/admission.py"]


@pytest.mark.parametrize("module", MODULES)
def test_no_native_module_has_classes_that_mypyc_cannot_make(module: str):
    assert "slots=True" not in (ROOT / f"sidecar/{module}.py").read_text()
