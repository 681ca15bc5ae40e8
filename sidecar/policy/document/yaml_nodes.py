"""Parser events → nodes with their places, counted as they grow.

YAML 1.2's core schema and nothing beyond it: `no` and `on` are strings, `012` is twelve, tags and merge
keys are refused. Aliases count as what they expand to, so that an alias bomb is refused at its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from sidecar.errors import Problem, Problems

MAX_DEPTH: Final = 24  # the deepest key of a policy is at 6
MAX_NODES: Final = 100_000  # with every alias written out
MAX_ALIASES: Final = 100
MAX_KEY: Final = 256
MAX_PROBLEMS: Final = 200

# YAML 1.2.2 §10.3.2, the core schema.
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]{1,40}\Z|0o[0-7]{1,40}\Z|0x[0-9a-fA-F]{1,40}\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,6})?\Z")

Place: TypeAlias = tuple[int, int]
"""Line and column, from 1."""

NOWHERE: Final[Place] = (0, 0)


@dataclass(slots=True)
class Node:
    """A value with its place, the place of its key, and what is in it.

    `origin` is empty for what the file says, and names what else the value comes from (`kind:gradio`).
    """

    value: Any
    at: Place
    key_at: Place
    children: dict[str, Node] = field(default_factory=dict)
    size: int = 1
    origin: str = ""

    @property
    def place(self) -> Place:
        """A scalar's own place; a collection is found at its key."""
        return self.key_at if self.children and self.key_at != NOWHERE else self.at


class Broken(Exception):
    """Nothing sensible can follow."""

    def __init__(self, what: str, instead: str, place: Place, path: str = "") -> None:
        self.problem = Problem(path, what, instead, *place)


@dataclass(slots=True)
class Builder:
    """Turns parser events into nodes, one stack frame a level, counting as it goes."""

    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)
    nodes: int = 0
    aliases: int = 0

    def build(self, events: Iterator[Event]) -> Node:
        """Return the root of the one document."""
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent) and root is not None:
                raise Broken("starts a second document", "keep one policy in a file", _start(event))
            if isinstance(event, NodeEvent):
                root = self._node(event, events, Problems(), NOWHERE, 0)
        return root or Node(None, (1, 1), NOWHERE)

    def _node(self, event: NodeEvent, events: Iterator[Event], path: Problems, key_at: Place, depth: int) -> Node:
        at = _start(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, path, key_at)
        self._count(1, at, path)
        if depth > MAX_DEPTH:
            raise Broken(f"is nested more than {MAX_DEPTH} levels deep", "flatten it", at, path.path[:MAX_KEY])
        if getattr(event, "tag", None) not in (None, "!"):
            self._complain(path, "has a tag", "write plain values, without `!…`", at)
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # stays None until complete: an alias to it would be endless
        node = Node(None, at, key_at)
        if isinstance(event, ScalarEvent):
            node.value = self._scalar(event, path, at)
        elif isinstance(event, SequenceStartEvent):
            self._sequence(node, events, path, depth)
        elif isinstance(event, MappingStartEvent):
            self._mapping(node, events, path, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: AliasEvent, path: Problems, key_at: Place) -> Node:
        at = _start(event)
        self.aliases += 1
        if event.anchor not in self.anchors:
            raise Broken("is an alias that no anchor above it has named", "write the value out", at, path.path)
        target = self.anchors[event.anchor]
        if target is None:
            raise Broken("is an alias of what it is part of", "write the value out", at, path.path)
        if self.aliases > MAX_ALIASES:
            raise Broken(f"is alias number {self.aliases}", f"use at most {MAX_ALIASES}", at, path.path)
        self._count(target.size, at, path)
        return Node(target.value, at, key_at, target.children, target.size)

    def _count(self, more: int, at: Place, path: Problems) -> None:
        self.nodes += more
        if self.nodes > MAX_NODES:
            what = f"makes more than {MAX_NODES} values of the policy, aliases written out"
            raise Broken(what, "use fewer values or aliases", at, path.path[:MAX_KEY])

    def _scalar(self, event: ScalarEvent, path: Problems, at: Place) -> Any:
        if not event.implicit[0] or event.tag == "!":  # quoted, or a block: text
            return event.value
        try:
            return _plain(event.value)
        except ValueError:
            self._complain(path, "is a number out of any range", "write a smaller one", at)
            return event.value

    def _sequence(self, node: Node, events: Iterator[Event], path: Problems, depth: int) -> None:
        node.value = []
        for index, event in enumerate(events):
            if isinstance(event, SequenceEndEvent):
                return
            assert isinstance(event, NodeEvent)
            step = f"[{index}]"
            child = self._node(event, events, path.at(step), NOWHERE, depth + 1)
            node.value.append(child.value)
            node.children[step] = child
            node.size += child.size

    def _mapping(self, node: Node, events: Iterator[Event], path: Problems, depth: int) -> None:
        node.value = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                return
            key_at = _start(event)
            # Keys are in problems and logs: an escape in quotes must not bring a line break there.
            if not isinstance(event, ScalarEvent) or len(event.value) > MAX_KEY or not event.value.isprintable():
                raise Broken("has a key that is not a short word", "write `key: value`", key_at, path.path[:MAX_KEY])
            key = event.value
            deeper = path.at(key)
            value_event = next(events)
            assert isinstance(value_event, NodeEvent)
            child = self._node(value_event, events, deeper, key_at, depth + 1)
            if key in node.children:
                line = node.children[key].key_at[0]
                self._complain(deeper, f"is written twice, first in line {line}", "keep one of the two", key_at)
            elif key == "<<":
                self._complain(deeper, "is a merge key, which YAML 1.2 does not have", "write the keys out", key_at)
            else:
                node.value[key] = child.value
                node.children[key] = child
            node.size += child.size

    def _complain(self, path: Problems, what: str, instead: str, at: Place) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(path.path, what, instead, *at))


def _plain(text: str) -> Any:
    """Return what a plain scalar means; ValueError for numbers beyond all use."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.match(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _FLOAT.match(text):
        if len(text) > 60:
            raise ValueError
        return float(text)
    return text


def _start(event: Event) -> Place:
    mark: Any = event.start_mark
    return (mark.line + 1, mark.column + 1)
