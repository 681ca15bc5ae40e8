"""What is known about each kind of chat backend, read from its YAML file.

A file says, in the policy's own words, what the operator would otherwise have to write:

title      name for people
tested     versions that the file was written against
guarded    what is looked at, one sentence each
unguarded  what is not
policy     sections of the policy (headers, sizes, cookies) that are under the operator's
operations routes with text; a name starts with the kind's name
textless   operations that carry no text, with their reason: they get no route
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.policy.document.load import load
from sidecar.policy.routes import Pattern

FOLDER: Final = Path(__file__).parent
GENERIC: Final = "generic"


@dataclass(frozen=True, slots=True)
class Textless:
    """An operation that carries no text."""

    path: str
    methods: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of chat backend. `policy` and `operations` are plain values, as YAML gives them."""

    name: str
    title: str
    tested: str
    guarded: tuple[str, ...]
    unguarded: tuple[str, ...]
    policy: dict[str, Any]
    operations: tuple[dict[str, Any], ...]
    textless: tuple[Textless, ...]

    def patterns(self) -> list[tuple[Pattern, str]]:
        """Return the requests that carry text, each with the name of its operation."""
        return [(pattern_of(each), each["name"]) for each in self.operations]


def read_kind(name: str) -> Kind | None:
    """Read a kind's file; None for a name that is not known."""
    if name not in names():
        return None
    path = FOLDER / f"{name}.yaml"
    tree = load(path.read_bytes(), path.name).tree
    return Kind(
        name,
        tree["title"],
        tree["tested"],
        tuple(tree.get("guarded", ())),
        tuple(tree.get("unguarded", ())),
        tree.get("policy", {}),
        tuple(tree.get("operations", ())),
        tuple(Textless(each["path"], tuple(each.get("methods", ())), each["why"]) for each in tree.get("textless", ())),
    )


def names() -> list[str]:
    """Return the names of all kinds, `generic` last."""
    found = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return sorted(found, key=lambda name: name == GENERIC)


def pattern_of(route: dict[str, Any]) -> Pattern:
    """Return the requests that a written route takes."""
    match = route["match"]
    return Pattern(match["path"], frozenset(match.get("methods", ())))
