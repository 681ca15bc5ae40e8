"""What is known of one chat protocol: where text is, what the length limit counts, where usage and ids are.

Everything that no path names is never touched: ids, tool calls, files, audio, signatures, metadata.
A value at a text's path must be a string; a list or an object passes there only where another path
leads into it, so that no form of a message goes by unseen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sidecar.json_path import Location, Path, compile_path

EVERYTHING: Final = compile_path("$..*")


class Shape(StrEnum):
    """What an error looks like to a client; written by `refusals.py`."""

    PLAIN = "plain"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    CHATKIT = "chatkit"
    VERCEL = "vercel"
    AG_UI = "ag_ui"
    GRADIO = "gradio"
    LANGGRAPH = "langgraph"
    OPEN_WEBUI = "open_webui"
    JSON_RPC = "json_rpc"


@dataclass(frozen=True, slots=True)
class Usage:
    """Where an answer or a stream's event counts tokens, and names its model."""

    input: Path
    output: Path
    model: Path


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds for a message that has one of `values` at `path`; any value but null, if `values` is empty.

    `bare`: a list or an object without any string in it.
    """

    path: Path
    values: frozenset[str] = frozenset()
    bare: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether the parsed message meets the condition."""
        found = (each for _, each in self.path.find(value))
        if self.bare:
            return any(isinstance(each, dict | list) and not has_string(each) for each in found)
        if self.values:
            return any(isinstance(each, str) and each in self.values for each in found)
        return any(each is not None for each in found)


class Framing(StrEnum):
    """How messages are written on a WebSocket."""

    JSON = "json"
    SOCKET_IO = "socket.io"
    BOKEH = "bokeh"
    SHINY = "shiny"
    STREAMLIT = "streamlit"


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol.

    texts          what is sanitized
    skipped        names below which `..*` finds nothing (arguments of tools)
    labels         names whose strings, below `..*`, are protocol tokens if they look like it: ids, types
    embedded       strings that hold JSON, whose own strings are texts
    lenient        values of other types at those paths are data, not faults (tool arguments)
    textless       messages for which one of these holds may do without text; any other that has none is
                   MESSAGE_UNREADABLE
    beside         of `texts`: those that stand beside a message, and are none by themselves; values of other types
                   are data there
    turns          lists of messages: the length limit counts the last one of the user in each
    counted        texts beside those turns that the length limit counts, each by itself; None: all texts of a
                   message without turns, none of a message with turns
    endings        how the request's path ends, for `auto`
    forms          its texts may come as fields of a form too
    counted_by_text  limits count messages that say something new only: a page sends others with each of them
    framing        how messages are written on a WebSocket
    shape          how its client reads a refusal
    usage          in a JSON answer and in a stream's events alike; absent paths are simply not found
    conversations  ids in a request that name a conversation (`ownership`)
    learned        the same ids in an answer or a stream's events
    """

    name: str
    texts: tuple[Path, ...]
    skipped: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    embedded: tuple[Path, ...] = ()
    lenient: bool = False
    textless: tuple[Condition, ...] = ()
    beside: tuple[Path, ...] = ()
    turns: tuple[Path, ...] = ()
    counted: tuple[Path, ...] | None = None
    endings: tuple[str, ...] = ()
    forms: bool = False
    counted_by_text: bool = False
    framing: Framing = Framing.JSON
    shape: Shape = Shape.PLAIN
    usage: tuple[Usage, ...] = ()
    conversations: tuple[Path, ...] = ()
    learned: tuple[Path, ...] = ()

    def may_be_textless(self, value: Any) -> bool:
        """Return whether a message in which no text was found is one of those that have none."""
        return any(condition.holds(value) for condition in self.textless)

    def holds_message(self, places: Iterable[Location]) -> bool:
        """Return whether one of the places where texts were found is that of a message."""
        return any(not any(path.selects(where) for path in self.beside) for where in places)

    def may_be_empty(self) -> bool:
        """Return whether a request may have no body at all: one of the conditions is about the whole message."""
        return any(not condition.path.steps for condition in self.textless)


def has_string(value: Any) -> bool:
    """Return whether a string is anywhere below a list or an object (names of members are none)."""
    return any(isinstance(each, str) for _, each in EVERYTHING.find(value))


def bare(path: str) -> Condition:
    """Condition: at `path` is a list or an object without any string in it."""
    return Condition(compile_path(path), bare=True)


def when(path: str, *values: str) -> Condition:
    """Condition: at `path` is one of `values`; any value but null, if none are given."""
    return Condition(compile_path(path), frozenset(values))


def paths(*texts: str) -> tuple[Path, ...]:
    """Compile several paths. Raises PathError."""
    return tuple(compile_path(text) for text in texts)


def content(base: str) -> tuple[str, ...]:
    """The paths of a `content` that is a string, a list of strings, or a list of parts with `text`."""
    return (base, f"{base}[*]", f"{base}[*].text")


def usage(base: str, given: str, made: str, model: str) -> Usage:
    """Return where a response reports its tokens: `given` and `made` below `base`, and its model."""
    return Usage(compile_path(f"{base}.{given}"), compile_path(f"{base}.{made}"), compile_path(model))


MESSAGES: Final = paths("$.messages")
