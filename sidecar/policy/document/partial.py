"""What is left of a policy without its faults, so that its other problems can be found in the same run.

The result serves the search for problems alone; a policy with problems is never used.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sidecar.errors import Problem
from sidecar.policy.document.validation_errors import Loc, path_of
from sidecar.policy.schema.policy_schema import PolicySchema

_ROUNDS: Final = 8
_STEP: Final = re.compile(r"\[(\d+)\]")
_PATH: Final = re.compile(r"[a-z_]+\[\d+\](?:\.[a-z_]+(?:\[\d+\])?)*")
_NEEDED: Final[dict[str, Any]] = {"version": 1, "backend": {"url": "http://127.0.0.1:3001"}}


class PartialPolicy:
    """The policy without its faulty parts, and where the items that are left stood in the file."""

    def __init__(self, tree: dict[str, Any], errors: list[ErrorDetails]) -> None:
        self.schema: PolicySchema | None = None
        self._kept: dict[str, list[int]] = {}
        tree = _copied(tree)
        for _ in range(_ROUNDS):
            faulty = {_faulty(error) for error in errors}
            whole = {loc for loc in faulty if not any(loc[:end] in faulty for end in range(1, len(loc)))}
            for loc in sorted(whole, key=_last_first):
                self._remove(tree, loc)
            for key, value in _NEEDED.items():
                tree.setdefault(key, value)
            try:
                self.schema = PolicySchema.model_validate(tree)
                return
            except ValidationError as error:
                errors = error.errors(include_url=False)

    def as_written(self, problem: Problem) -> Problem:
        """Return the problem with the indexes of the file, also where its text mentions other places."""
        what = _PATH.sub(lambda found: self._written(found.group()), problem.what)
        return replace(problem, path=self._written(problem.path), what=what)

    def _written(self, path: str) -> str:
        done = ""
        for piece in re.split(r"(\[\d+\])", path):
            index = _STEP.fullmatch(piece)
            here = self._kept.get(done) if index else None
            done += f"[{here[int(index[1])]}]" if index and here and int(index[1]) < len(here) else piece
        return done

    def _remove(self, tree: dict[str, Any], loc: Loc) -> None:
        """Take out what is at this place; what is not there any more is fine."""
        parent: Any = tree
        written: Loc = ()
        for step in loc[:-1]:
            if isinstance(parent, list) and isinstance(step, int) and step < len(parent):
                written = (*written, self._index(written, step, len(parent)))
            elif isinstance(parent, dict) and step in parent:
                written = (*written, step)
            else:
                return
            parent = parent[step]
        last = loc[-1]
        if isinstance(parent, list) and isinstance(last, int) and last < len(parent):
            self._index(written, last, len(parent))
            self._kept[path_of(written)].pop(last)
            parent.pop(last)
        elif isinstance(parent, dict):
            parent.pop(last, None)
            if (sound := _stand_in(loc)) is not None:
                parent[last] = sound

    def _index(self, written: Loc, index: int, length: int) -> int:
        """Return the index that this item has in the file."""
        return self._kept.setdefault(path_of(written), list(range(length)))[index]


def _copied(value: Any) -> Any:
    """Copy a plain tree without sharing: what aliases share must not lose an item twice."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _faulty(error: ErrorDetails) -> Loc:
    """Return the smallest part to leave out so that the rest is valid: a value, or what lacks a key."""
    loc = error["loc"]
    if error["type"] == "missing":
        loc = loc[:-1] or loc
    elif loc[-1] == "[key]":
        loc = loc[:-1]
    # Without one of its conditions a match would take other requests: the whole route is left out.
    return loc[:2] if loc[0] == "routes" and loc[2:3] == ("match",) else loc


def _stand_in(loc: Loc) -> Any:
    """Return a valid value for a part that is wrong: other parts may name it, and are not wrong because of it."""
    match loc:
        case ("sessions", "mode"):
            return "issue"
        case ("providers", str()):
            return {"hosts": ["provider.example"]}
        case ("egress", "providers", str()):
            return {"url": "https://provider.example", "allow": ["/"]}
        case _:
            return None


def _last_first(loc: Loc) -> tuple[Any, ...]:
    """Order places so that taking one out moves none that follows."""
    return tuple((0, -step, "") if isinstance(step, int) else (1, 0, step) for step in loc)
