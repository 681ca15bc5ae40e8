"""Chooses between the native and the interpreted form of the modules of the hot path.

deploy/native.py puts extension modules beside their sources, and Python imports those first. They are left aside
when a source has changed since (a checkout that was edited), and with SIDECAR_NATIVE=off (to profile, to compare).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.abc import PathEntryFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from typing import Final

SOURCES: Final = "sidecar__mypyc.sources"
"""What native modules were made of: lines of a SHA-256 digest and a path. Lies beside the package, written last."""

VARIABLE: Final = "SIDECAR_NATIVE"


def form(package: Path, environ: Mapping[str, str]) -> str:
    """Return `native`, or why the modules below a package's folder are interpreted."""
    made_of = package.parent / SOURCES
    if not made_of.exists():
        return "interpreted"
    if environ.get(VARIABLE, "").lower() in {"off", "0", "false", "no"}:
        return f"interpreted: {VARIABLE} is off"
    for line in made_of.read_text().splitlines():
        digest, _, path = line.partition("  ")
        if not path.startswith(f"{package.name}/"):
            continue
        source = package.parent / path
        if not source.exists() or sha256(source.read_bytes()).hexdigest() != digest:
            return f"interpreted: {path} has changed since its native form was made"
    return "native"


def interpret(package: Path) -> None:
    """Import the modules of a package from their sources only; before any of them is imported."""
    of_sources = FileFinder.path_hook((SourceFileLoader, SOURCE_SUFFIXES))

    def hook(path: str) -> PathEntryFinder:
        if not Path(path).is_relative_to(package):
            raise ImportError(path)
        return of_sources(path)

    sys.path_hooks.insert(0, hook)
    for path in list(sys.path_importer_cache):
        if Path(path).is_relative_to(package):
            del sys.path_importer_cache[path]
