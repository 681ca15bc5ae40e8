"""Chooses between the native and the interpreted form of the modules of the hot path.

deploy/native.py puts extension modules beside their sources, and Python imports those first. They are left aside
when a source is newer (a checkout that was edited), and with SIDECAR_NATIVE=off (to profile, to compare).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.abc import PathEntryFinder
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path
from typing import Final

LIBRARY: Final = f"sidecar__mypyc{EXTENSION_SUFFIXES[0]}"
"""Holds the code of all native modules; lies beside the package, and is written last."""

VARIABLE: Final = "SIDECAR_NATIVE"


def form(package: Path, environ: Mapping[str, str]) -> str:
    """Return `native`, or why the modules below a package's folder are interpreted."""
    library = package.parent / LIBRARY
    if not library.exists():
        return "interpreted"
    if environ.get(VARIABLE, "").lower() in {"off", "0", "false", "no"}:
        return f"interpreted: {VARIABLE} is off"
    made = library.stat().st_mtime
    for each in package.rglob(f"*{EXTENSION_SUFFIXES[0]}"):
        source = each.with_name(each.name.removesuffix(EXTENSION_SUFFIXES[0]) + ".py")
        if not source.exists() or source.stat().st_mtime > made:
            return f"interpreted: {source.relative_to(package)} is newer than its native form"
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
