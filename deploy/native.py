"""Compile the modules of the hot path to C, and put them beside their sources.

    python deploy/native.py [--into DIRECTORY] [--optional]

Reads [tool.native] of pyproject.toml; mypyc does the work, with the types that mypy has checked. `--into` is the
directory that holds the package `sidecar` (default: this checkout). `--optional`: without a C compiler say so,
and leave all modules interpreted. Nothing is done when what is there was made of the same sources.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAKER = "deploy/native.py"
SUFFIX = EXTENSION_SUFFIXES[0]
LIBRARY = f"sidecar__mypyc{SUFFIX}"
SOURCES = "sidecar__mypyc.sources"
"""What the native modules were made of, as sha256sum writes it; the package looks at it (sidecar/native.py)."""


def main() -> int:
    """Return 0 when native modules are in place, or may be missing and are; 1 when they cannot be made."""
    arguments = parsed()
    into: Path = arguments.into.resolve()
    modules: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["native"]["modules"]
    sources = [f"sidecar/{each}.py" for each in modules]
    digests = "".join(f"{sha256((ROOT / each).read_bytes()).hexdigest()}  {each}\n" for each in [*sources, MAKER])
    if fresh(into, sources, digests):
        return 0
    missing = missing_tool()
    if missing:
        print(f"modules stay interpreted: {missing}", file=sys.stderr)
        return 0 if arguments.optional else 1
    remove(into)
    # Not in the checkout: what it is made of must not change while it is built, nor a half of it be imported.
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shutil.copytree(ROOT / "sidecar", work / "sidecar", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        done = subprocess.run([sys.executable, __file__, "--build", *sources], cwd=work, check=False)
        if done.returncode:
            return 1
        built = work / "built"
        for each in built.rglob(f"*{SUFFIX}"):
            if each.name != LIBRARY:
                shutil.copy(each, into / each.relative_to(built))
        shutil.copy(built / LIBRARY, into)
        (into / SOURCES).write_text(digests)  # last: it says that all of it is there
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--into", type=Path, default=ROOT, help="the directory that holds the package")
    parser.add_argument("--optional", action="store_true", help="do without when there is no C compiler")
    return parser.parse_args()


def fresh(into: Path, sources: list[str], digests: str) -> bool:
    """Return whether native modules are there, all of them and no other, made of the same sources."""
    there = {str(each.relative_to(into)) for each in (into / "sidecar").rglob(f"*{SUFFIX}")}
    if there != {each.removesuffix(".py") + SUFFIX for each in sources} or not (into / LIBRARY).exists():
        return False
    made = into / SOURCES
    return made.exists() and made.read_text() == digests


def missing_tool() -> str:
    """Return what is not there of what a build takes, "" when all is."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler)) is None:
        return f"no C compiler ({compiler})"
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return "no Python.h (Debian: python3-dev)"
    return ""


def remove(into: Path) -> None:
    """Remove what an earlier build made."""
    (into / SOURCES).unlink(missing_ok=True)
    (into / LIBRARY).unlink(missing_ok=True)
    for each in (into / "sidecar").rglob(f"*{SUFFIX}"):
        each.unlink()


def build(sources: list[str]) -> None:
    """Build the extension modules of this directory's sources below `built`."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    # `make check` checks the types; here they are only read, and a library's may be missing (an image's build).
    Path("mypy.ini").write_text("[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n")
    extensions = mypycify(
        ["--config-file", "mypy.ini", *sources], opt_level="2", debug_level="0", group_name="sidecar",
        multi_file=True, target_dir="c",
    )  # fmt: skip
    command = build_ext(Distribution({"ext_modules": extensions}))
    command.build_lib, command.build_temp, command.parallel = "built", "objects", os.cpu_count()
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        build(sys.argv[2:])
    else:
        sys.exit(main())
