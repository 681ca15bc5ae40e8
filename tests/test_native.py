"""Which form of the modules is imported, asked of interpreters of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from sidecar.native import LIBRARY, form

ROOT = Path(__file__).parents[1]
SUFFIX = EXTENSION_SUFFIXES[0]
MODULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["native"]["modules"]
SHOWN = "import sidecar, sidecar.admission; print(sidecar.FORM); print(sidecar.admission.__file__)"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one native module, made after its source."""
    folder = tmp_path / "sidecar"
    folder.mkdir()
    for name, made in (("a.py", 1000), (f"a{SUFFIX}", 2000), ("b.py", 3000)):
        (folder / name).touch()
        os.utime(folder / name, (made, made))
    (tmp_path / LIBRARY).touch()
    os.utime(tmp_path / LIBRARY, (2000, 2000))
    return folder


def test_native_while_no_source_is_newer(package: Path):
    assert form(package, {}) == "native"
    os.utime(package / "a.py", (2001, 2001))
    assert form(package, {}) == "interpreted: a.py is newer than its native form"


def test_interpreted_without_the_library(package: Path):
    (package.parent / LIBRARY).unlink()
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
    shutil.copy2(ROOT / LIBRARY, tmp_path)
    (tmp_path / "sidecar/admission.py").touch()
    assert run(tmp_path) == [
        "interpreted: admission.py is newer than its native form",
        f"{tmp_path}/sidecar/admission.py",
    ]


@pytest.mark.parametrize("module", MODULES)
def test_no_native_module_has_classes_that_mypyc_cannot_make(module: str):
    assert "slots=True" not in (ROOT / f"sidecar/{module}.py").read_text()
