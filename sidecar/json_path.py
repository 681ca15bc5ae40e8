"""Paths into JSON, compiled once: the part of RFC 9535 that locates a value.

Names (`$.message`, `$['odd name']`), indexes (`$.data[0]`, `$.messages[-1]`), wildcards (`[*]`, `.*`)
and, at the end only, all descendants (`..*`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias


class Embedded:
    """The step from a string into the JSON that it holds."""

    def __repr__(self) -> str:
        return "(JSON)"


EMBEDDED: Final = Embedded()
Location: TypeAlias = tuple[str | int | Embedded, ...]
"""Where one value is: names and non-negative indexes from the root, EMBEDDED into the JSON of a string."""

MAX_TEXT: Final = 1024
MAX_STEPS: Final = 32
NAME = re.compile(
    r"[A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff][0-9A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff]*"
)  # RFC 9535 §2.5.1.1
INDEX = re.compile(r"0|-?[1-9][0-9]{0,8}")  # no leading zeros, no -0: RFC 9535 §2.3.3.1
ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\", "'": "'", '"': '"'}


class PathError(ValueError):
    """A path that does not compile. `position` counts characters from 1."""

    def __init__(self, what: str, position: int) -> None:
        self.what = what
        self.position = position
        super().__init__(f"{what} at character {position}")


class Wildcard:
    """`[*]`: every element of an array, every member of an object."""

    def __repr__(self) -> str:
        return "*"


class Descendants:
    """`..*`: everything below."""

    def __repr__(self) -> str:
        return "..*"


EVERY: Final = Wildcard()
BELOW: Final = Descendants()
Step: TypeAlias = str | int | Wildcard | Descendants


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path; `text` is how it was written."""

    text: str
    steps: tuple[Step, ...]

    def find(self, value: Any) -> list[tuple[Location, Any]]:
        """Return every value that the path selects, with its place, in document order."""
        found: list[tuple[Location, Any]] = [((), value)]
        for step in self.steps:
            if not found:
                break
            if isinstance(step, str):  # by far the most: written out, without a generator for each parent
                found = [
                    ((*place, step), parent[step]) for place, parent in found if type(parent) is dict and step in parent
                ]
            else:
                found = [item for place, parent in found for item in children(place, parent, step)]
        return found

    def selects(self, place: Location) -> bool:
        """Return whether the path selects what is at this place."""
        for at, step in enumerate(self.steps):
            if step is BELOW:
                return len(place) > at
            if at >= len(place) or (step is not EVERY and step != place[at]):
                return False
        return len(place) == len(self.steps)

    def first(self, value: Any) -> Any:
        """Return the first value selected, or None."""
        for step in self.steps:
            if not isinstance(step, str):
                found = self.find(value)
                return found[0][1] if found else None
        for step in self.steps:
            if type(value) is not dict or step not in value:
                return None
            value = value[step]
        return value

    @property
    def name(self) -> str | None:
        """The name of a path of one name (`$.message`): what a form calls the same field."""
        step = self.steps[0] if len(self.steps) == 1 else None
        return step if isinstance(step, str) else None


def children(place: Location, parent: Any, step: int | Wildcard | Descendants) -> Iterator[tuple[Location, Any]]:
    """Yield what a step that is no name selects below a value; one that does not fit selects nothing."""
    if isinstance(step, int):
        if isinstance(parent, list) and -len(parent) <= step < len(parent):
            yield (*place, step % len(parent)), parent[step]
    elif isinstance(step, Wildcard):
        yield from every(place, parent)
    else:
        yield from below(place, parent)


def every(place: Location, parent: Any) -> Iterator[tuple[Location, Any]]:
    """Yield the location and the value of each member of an array or object at `place`; nothing for other values."""
    pairs: Any = enumerate(parent) if isinstance(parent, list) else parent.items() if isinstance(parent, dict) else ()
    for key, value in pairs:
        yield (*place, key), value


def below(place: Location, parent: Any) -> Iterator[tuple[Location, Any]]:
    """Yield all descendants; the depth is that of a document that was parsed within its bound."""
    for where, value in every(place, parent):
        yield where, value
        if isinstance(value, dict | list):
            yield from below(where, value)


def compile_path(text: str) -> Path:
    """Compile a path, or raise PathError with a sentence and a position."""
    if len(text) > MAX_TEXT:
        raise PathError(f"the path is longer than {MAX_TEXT} characters", MAX_TEXT)
    if not text.startswith("$"):
        raise PathError("a path starts with `$`", 1)
    steps: list[Step] = []
    at = 1
    while at < len(text):
        if steps and steps[-1] is BELOW:
            raise PathError("nothing may follow `..*`", at + 1)
        step, at = read_step(text, at)
        steps.append(step)
    if len(steps) > MAX_STEPS:
        raise PathError(f"the path has more than {MAX_STEPS} steps", len(text))
    return Path(text, tuple(steps))


def read_step(text: str, at: int) -> tuple[Step, int]:
    """Read the step that starts at `at`; return it and where the next one starts."""
    if text.startswith("..", at):
        if text.startswith("..*", at):
            return BELOW, at + 3
        raise PathError("of descendants only `..*` is supported", at + 1)
    if text[at] == ".":
        if text.startswith("*", at + 1):
            return EVERY, at + 2
        name = NAME.match(text, at + 1)
        if name is None:
            raise PathError("a name or `*` must follow `.` (quote other names: `['odd name']`)", at + 2)
        return name.group(), name.end()
    if text[at] == "[":
        step, end = read_selector(text, at + 1)
        if not text.startswith("]", end):
            raise PathError("a `]` is missing", end + 1)
        return step, end + 1
    raise PathError("expected `.` or `[`", at + 1)


def read_selector(text: str, at: int) -> tuple[Step, int]:
    """Read the selector at offset `at`, after `[`; return the step and the offset after it. Raises PathError."""
    if text.startswith("*", at):
        return EVERY, at + 1
    if text[at : at + 1] in {"'", '"'}:
        return read_quoted(text, at)
    index = INDEX.match(text, at)
    if index is None:
        raise PathError("expected `*`, an index or a quoted name between `[` and `]`", at + 1)
    return int(index.group()), index.end()


def read_quoted(text: str, at: int) -> tuple[str, int]:
    """Read a quoted name (RFC 9535 §2.3.1.1); return it and the offset after the closing quote. Raises PathError."""
    quote, start, out = text[at], at, ""
    at += 1
    while at < len(text):
        char = text[at]
        if char == quote:
            return out, at + 1
        if char != "\\":
            if char < " ":
                raise PathError("a quoted name may not hold control characters", at + 1)
            out, at = out + char, at + 1
            continue
        escape = text[at + 1 : at + 2]
        if escape == "u":
            out, at = out + read_unicode(text, at), at + 6
        elif escape in ESCAPES:
            out, at = out + ESCAPES[escape], at + 2
        else:
            raise PathError("this escape is not known", at + 1)
    raise PathError("the quoted name that starts here does not end", start + 1)


def read_unicode(text: str, at: int) -> str:
    r"""Return the character of a `\uXXXX` escape at offset `at`. Raises PathError for surrogates and other digits."""
    digits = text[at + 2 : at + 6]
    if not re.fullmatch("[0-9A-Fa-f]{4}", digits) or 0xD800 <= int(digits, 16) <= 0xDFFF:
        raise PathError(r"`\u` needs four hexadecimal digits of a character (write others as they are)", at + 1)
    return chr(int(digits, 16))
