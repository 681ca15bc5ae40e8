"""YAML text → a plain tree with the line and column of each value, or the problems with theirs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from sidecar.errors import PolicyError, Problem
from sidecar.policy.document.yaml_nodes import NOWHERE, Broken, Builder, Node, Place

MAX_BYTES: Final = 1024 * 1024  # the limit of a Kubernetes ConfigMap
_STEP: Final = re.compile(r"\[\d+\]|[^.\[]+")
_LOADER: Final[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
# YAML 1.2.2 §5.1, without the byte order mark that may open the text.
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Document:
    """A policy's text as plain values (`tree`), and where each of them is in `source`."""

    source: str
    tree: dict[str, Any]
    root: Node

    def place(self, path: str) -> Place:
        """Return where `cors.allowed_origins[1]` is, or else the nearest part of it that is written."""
        return self._find(path)[0].place

    def key_place(self, path: str) -> Place:
        """Return where the key itself is: for keys that should not be there."""
        node, whole = self._find(path)
        return node.key_at if whole and node.key_at != NOWHERE else node.place

    def holds(self, path: str) -> bool:
        """Return whether this path is written in the text (what is not is a default)."""
        return self._find(path)[1]

    def origin(self, path: str) -> str:
        """Return what the value comes from if it is not this text (`kind:gradio`), else ""."""
        return self._find(path)[0].origin

    def _find(self, path: str) -> tuple[Node, bool]:
        """Follow a path as far as the document has it; the second value is whether it was found whole."""
        node, rest = self.root, path
        while rest:
            step = _first_step(node, rest)
            if step is None:
                return node, False
            node = node.children[step]
            rest = rest[len(step) :].removeprefix(".")
        return node, True


def load(text: str | bytes, source: str) -> Document:
    """Return the document, or raise PolicyError with every problem."""
    document, problems = scan(text, source)
    if problems:
        raise PolicyError(source, problems)
    return document


def scan(text: str | bytes, source: str) -> tuple[Document, list[Problem]]:
    """Return the document and the problems that leave a tree to go on with (duplicate keys, tags).

    What leaves none (a syntax error, an alias bomb) is raised as PolicyError.
    """
    builder = Builder()
    try:
        root = builder.build(yaml.parse(_decoded(text), Loader=_LOADER))
    except Broken as broken:
        raise PolicyError(source, [*builder.problems, broken.problem]) from None
    except yaml.MarkedYAMLError as error:
        raise PolicyError(source, [*builder.problems, _syntax(error, text)]) from None
    except yaml.YAMLError:
        raise PolicyError(
            source, [Problem("", "is not YAML", "see docs/policy.md for a policy to start from")]
        ) from None
    if not isinstance(root.value, dict):
        what = "is empty" if root.value is None else f"is {_kind(root.value)}, not a mapping of keys"
        raise PolicyError(source, [Problem("", what, "start with `version: 1`", *(root.at if root.at[0] else (1, 1)))])
    return Document(source, root.value, root), builder.problems


def _decoded(text: str | bytes) -> str:
    """Return the text if it is printable UTF-8 within the bound."""
    if len(text) > MAX_BYTES:
        raise Broken(f"is larger than {MAX_BYTES // 1024} KiB", "split lists of addresses into networks", (1, 1))
    if not isinstance(text, str):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            good = error.object[: error.start].decode("utf-8")
            raise Broken("is not UTF-8", "save the file as UTF-8", _place_of(good, len(good))) from None
    text = text.removeprefix("\ufeff")
    odd = _UNPRINTABLE.search(text)
    if odd is not None:
        what = f"holds the control character U+{ord(odd.group()):04X}"
        raise Broken(what, "remove it", _place_of(text, odd.start()))
    return text


def _syntax(error: yaml.MarkedYAMLError, text: str | bytes) -> Problem:
    """Turn a parser's error into one problem at its place."""
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = (text.decode("utf-8", "replace") if isinstance(text, bytes) else text).splitlines()
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    if "\t" in line[: place[1]] and not line[: place[1]].strip():
        return Problem("", "is indented with a tab", "indent with spaces", *place)
    what = re.sub(r"\s+", " ", f"{error.context or ''} {error.problem or ''}").strip()
    return Problem("", f"is not valid YAML ({what})", "check indentation, colons and quotes up to here", *place)


def _first_step(node: Node, rest: str) -> str | None:
    """Return the key of `node` that `rest` begins with; the longest one, because host names contain dots."""
    likely = _STEP.match(rest)
    if likely is not None and likely.group() in node.children and (rest[0] == "[" or likely.end() == len(rest)):
        return likely.group()
    found = [key for key in node.children if rest.startswith(key) and rest[len(key) : len(key) + 1] in ("", ".", "[")]
    return max(found, key=len, default=None)


def _place_of(text: str, offset: int) -> Place:
    line = text.count("\n", 0, offset) + 1
    return (line, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a single value"
