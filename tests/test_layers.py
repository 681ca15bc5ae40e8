"""The house has floors: imports point down, and foreign packages have one home."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "sidecar"
FLOORS: list[set[str]] = [
    {"clock", "errors", "secret", "decision", "session", "head", "limit", "vocabulary"},
    {"exchange", "events"},
    {"guard", "admission"},
    {"stores", "vault"},
    {"messages", "redaction"},
    {"guards"},
    {"policy"},
    {"proxy", "admin", "telemetry"},
    {"explain"},
    {"app", "settings", "demo"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
HOMES = {
    "aiohttp": ("proxy/", "admin/", "demo/", "app.py"),
    "yaml": ("policy/", "vault/providers.py"),
    "pydantic": ("policy/",),
    "cryptography": ("vault/", "stores/"),
    "redis": ("stores/redis",),
    "prometheus_client": ("telemetry/metrics.py",),
    "sqlalchemy": ("vault/",),
    "openai": ("vault/", "messages/"),
    "uvloop": ("app.py", "cli/", "demo/"),
}
WORDS = {path.stem for path in ROOT.glob("*.py")}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "sidecar"}
    return names


def room(dotted: str) -> str:
    return dotted.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down_and_foreign_packages_stay_home(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    own = relative.split("/")[0].removesuffix(".py")
    for name in imports(path):
        if name.startswith("sidecar."):
            target = room(name)
            if target in FLOOR and own in FLOOR:
                neighbours = target == own or (target in WORDS and own in WORDS and FLOOR[target] == FLOOR[own])
                assert neighbours or FLOOR[target] < FLOOR[own], f"{relative} imports {name}, which is not below it"
        foreign = name.split(".")[0]
        if foreign in HOMES:
            assert relative.startswith(HOMES[foreign]), f"{foreign} lives in {HOMES[foreign]}, not in {relative}"


def test_every_room_has_a_floor() -> None:
    rooms = {str(p.relative_to(ROOT)).split("/")[0].removesuffix(".py") for p in FILES} - {"__init__"}
    assert rooms <= set(FLOOR)
