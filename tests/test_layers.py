"""Imports point down, between files there is no circle, and each foreign package is imported in one place."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "sidecar"
LAYERS: list[set[str]] = [
    {
        "bounded_cache",
        "budget",
        "bounded_counts",
        "clock",
        "errors",
        "secret",
        "decision",
        "session",
        "head",
        "limit",
        "json_path",
        "native",
        "prices",
        "process_memory",
        "revoked",
        "spelling",
        "token_estimate",
        "trace_context",
        "vocabulary",
    },
    {"exchange", "events"},
    {"guard", "admission", "maintenance", "waiting_records"},
    {"stores", "vault"},
    {"services"},
    {"redaction"},
    {"policy/schema"},
    {"extend"},
    {"messages"},
    {"guards"},
    {"responses"},
    {"suggest"},
    {"policy"},
    {"proxy", "admin", "telemetry", "anomalies"},
    {"explain", "manifests"},
    {"settings", "demo"},
    {"live_views", "policy_needs"},
    {"running"},
    {"app"},
    {"cli"},
    {"__main__"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
HOMES = {
    "aiohttp": ("proxy/codec/", "admin/", "demo/"),
    "yaml": ("policy/", "manifests/", "vault/providers.py"),
    "pydantic": ("policy/",),
    "cryptography": ("vault/", "stores/"),
    "redis": ("stores/redis",),
    "prometheus_client": ("telemetry/exposition.py",),
    "sqlite3": ("vault/sqlite_driver.py",),
    "asyncpg": ("vault/postgresql_driver.py",),
    "openai": ("vault/", "messages/"),
    "opentelemetry": ("telemetry/tracing.py",),
    "uvloop": ("app.py", "cli/", "demo/"),
}
VALUES = {path.stem for path in ROOT.glob("*.py")}
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = ("sidecar", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports; `from sidecar.a import b` names the module b where there is one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES
            names |= members or {node.module}
    return names


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return one circle of a graph of imports, or nothing."""
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def folder(dotted: str) -> str:
    """Return the layer's name of a module: its folder, or the subfolder that has a layer of its own."""
    parts = dotted.split(".")[1:]
    inner = "/".join(parts[:2])
    return inner if inner in LAYER else parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down_and_foreign_packages_have_one_place(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    own = folder(module_of(path)) if path.parent != ROOT or path.stem != "__init__" else ""
    for name in imports(path):
        if name.startswith("sidecar."):
            target = folder(name)
            if target in LAYER and own in LAYER:
                neighbours = target == own or (target in VALUES and own in VALUES and LAYER[target] == LAYER[own])
                assert neighbours or LAYER[target] < LAYER[own], f"{relative} imports {name}, which is not below it"
        foreign = name.split(".")[0]
        if foreign in HOMES:
            assert relative.startswith(HOMES[foreign]), f"{foreign} is imported in {HOMES[foreign]}, not in {relative}"


def test_each_folder_has_a_layer() -> None:
    folders = {folder(name) for name in MODULES if name != "sidecar"}
    assert folders <= set(LAYER)


def test_no_files_import_each_other() -> None:
    """Imports inside functions count: they hide a circle, they do not end it."""
    assert circle_in({module_of(path): imports(path) & MODULES for path in FILES}) == []


def test_a_circle_is_found() -> None:
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
