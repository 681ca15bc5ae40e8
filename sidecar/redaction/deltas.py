"""Where the pieces of a streamed text stand in the JSON of an event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Path: TypeAlias = tuple[str, ...]
"""Names from the root; `*` is every element of a list."""

EACH: Final = "*"

TEXT_DELTAS: Final[tuple[Path, ...]] = (
    ("choices", EACH, "delta", "content"),  # OpenAI chat, and the many that speak it
    ("choices", EACH, "delta", "reasoning_content"),
    ("choices", EACH, "delta", "reasoning"),
    ("choices", EACH, "delta", "refusal"),
    ("choices", EACH, "delta", "content", EACH, "text"),
    ("choices", EACH, "delta", "tool_calls", EACH, "function", "arguments"),
    ("choices", EACH, "delta", "function_call", "arguments"),
    ("choices", EACH, "text"),
    ("delta",),  # OpenAI responses, Vercel AI, AG-UI
    ("delta", "text"),  # Anthropic
    ("delta", "partial_json"),
    ("delta", "thinking"),
    ("delta", "content"),
    ("update", "delta"),  # ChatKit
    ("candidates", EACH, "content", "parts", EACH, "text"),  # Google
    ("message", "content"),  # Ollama and plain backends
    ("text",),
    ("content",),
    ("token",),
    ("token", "text"),
    ("response",),
    ("answer",),
    ("output",),
    ("chunk",),
    ("data",),
    ("message",),
)

Tree: TypeAlias = "dict[str, Tree | None]"
_TEXT: Final = ""  # a node that has it holds a text, if it is a string


class Delta(NamedTuple):
    """One piece of a text: which text it continues, and where it stands in its event."""

    channel: tuple[Any, ...]
    path: tuple[str | int, ...]
    text: str


class Deltas:
    """Paths, compiled: finds the deltas of an event in one walk over the names that it has."""

    __slots__ = ("_tree", "names")

    def __init__(self, paths: Iterable[Path] = TEXT_DELTAS) -> None:
        self._tree: Tree = {}
        names: set[str] = set()
        for path in paths:
            names.update(path[-1:])
            node = self._tree
            for name in path:
                below = node.get(name)
                if below is None:
                    below = node[name] = {}
                node = below
            node[_TEXT] = None
        self.names = frozenset(names)  # `*` among them: texts may be the elements of a list

    def find(self, event: Any) -> list[Delta]:
        """Return the deltas of a parsed event; an event that is a string is one itself.

        Interleaved texts of one path are told apart by the numbers around them and by the event's
        type; not by ids, because some servers make a new one for each event.
        """
        if isinstance(event, str):
            return [Delta((), (), event)]
        if not isinstance(event, dict):
            return []
        found: list[Delta] = []
        get = event.get
        kind = get("type")
        # Elsewhere a top-level index may count tokens, and would tear one text into as many.
        block = get("index") if kind == "content_block_delta" else None
        place = (kind, block, get("output_index"), get("content_index"))
        try:
            hash(place)
        except TypeError:
            place = (None,) * 4  # lists or objects: not what these names mean in any protocol
        _walk(event, self._tree, place, (), found)
        return found


def _walk(value: Any, tree: Tree, channel: tuple[Any, ...], path: tuple[str | int, ...], found: list[Delta]) -> None:
    if type(value) is str:
        if value and _TEXT in tree:
            found.append(Delta(channel, path, value))
    elif isinstance(value, dict):
        for name in value:
            below = tree.get(name)
            if below is not None:
                _walk(value[name], below, (*channel, name), (*path, name), found)
    elif isinstance(value, list):
        below = tree.get(EACH)
        if below is not None:
            for at, element in enumerate(value):
                _walk(element, below, (*channel, _number(element, at)), (*path, at), found)


def _number(element: Any, at: int) -> int:
    """Return which of several texts an element continues: its own index, or its place in the list."""
    own = element.get("index") if isinstance(element, Mapping) else None
    return own if isinstance(own, int) else at


def put(event: Any, path: tuple[str | int, ...], text: str) -> Any:
    """Return the event with another text at a path that `find` gave."""
    if not path:
        return text
    node = event
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = text
    return event
