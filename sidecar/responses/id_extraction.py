"""Ids in the bodies of answers, found while these pass: JSON, events, lines of JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

import orjson

from sidecar.exchange import Exchange
from sidecar.json_path import Path

MOST: Final = 256 * 1024
"""Bytes of a JSON answer, or of one event, that are read; longer ones pass unread."""

SEEN: Final = 64
"""Different ids that are reported from one response."""

Found: TypeAlias = Callable[[Exchange, str], Awaitable[None]]
_SPACE: Final = b" \t"


@dataclass(frozen=True)
class IdRule:
    """Paths that are searched in bodies, and the function that each text or integer found there is passed to.

    `when` selects the requests whose responses are searched; None: all.
    """

    paths: tuple[Path, ...]
    found: Found
    when: Callable[[Exchange], bool] | None = None
    hints: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        # A body without any of these names cannot contain an id.
        names = {step for path in self.paths for step in path.steps[-1:] if isinstance(step, str)}
        object.__setattr__(self, "hints", tuple(sorted(orjson.dumps(name) for name in names)))


class IdExtractor:
    """Collects the ids found in one response; reports each id once."""

    __slots__ = ("_exchange", "_hints", "_rules", "_seen")

    def __init__(self, exchange: Exchange, rules: tuple[IdRule, ...]) -> None:
        self._exchange = exchange
        self._rules = rules
        self._hints = tuple(hint for rule in rules for hint in rule.hints)
        self._seen: set[tuple[int, str]] = set()

    def read(self, text: bytes) -> None:
        """Search one JSON text; text that is not JSON is skipped."""
        if not any(hint in text for hint in self._hints):
            return
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        for number, rule in enumerate(self._rules):
            for path in rule.paths:
                for _, found in path.find(value):
                    if isinstance(found, str | int) and not isinstance(found, bool) and found != "":
                        self._tell(number, rule, str(found))

    def _tell(self, number: int, rule: IdRule, found: str) -> None:
        key = (number, found)
        if key not in self._seen and len(self._seen) < SEEN:
            self._seen.add(key)
            self._exchange.pending.append(partial(rule.found, self._exchange, found))


class JsonReader:
    """A ResponseFilter: reads one JSON response as it passes. The last byte is held until found ids are stored."""

    __slots__ = ("_extractor", "_held", "_parts", "_size")

    def __init__(self, extractor: IdExtractor) -> None:
        self._extractor = extractor
        self._parts: list[bytes] = []
        self._size = 0
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Collect up to MOST bytes; return all but the last byte so far."""
        self._size += len(chunk)
        if self._size <= MOST:
            self._parts.append(chunk)
        else:
            self._parts.clear()
        text = self._held + chunk
        self._held = text[-1:]
        return text[:-1]

    def finish(self) -> bytes:
        """Extract the ids of the collected body; return the last byte. A longer body is not read."""
        if self._parts:
            self._extractor.read(b"".join(self._parts))
        return self._held


class LinesReader:
    """A ResponseFilter: reads events (WHATWG HTML §9.2.6) or lines of JSON as they pass; nothing is held back.

    A client acts on an event at its blank line, which is sent once the ids of the event are stored.
    """

    __slots__ = ("_data", "_events", "_extractor", "_rest", "_size")

    def __init__(self, extractor: IdExtractor, *, events: bool) -> None:
        self._extractor = extractor
        self._events = events
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """Extract the ids of complete lines; return the chunk as it came."""
        text = self._rest + chunk
        *lines, self._rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if text.endswith(b"\r"):  # the first half of a line's end, or all of it
            self._rest = lines.pop() + b"\r"
        for line in lines:
            self._line(line)
        if len(self._rest) > MOST:
            self._rest = b""
        return chunk

    def finish(self) -> bytes:
        """Extract the ids of the last line; return nothing, for nothing was held."""
        self._line(self._rest.rstrip(b"\r"))
        self._line(b"")
        return b""

    def _line(self, line: bytes) -> None:
        if not self._events:
            self._extractor.read(line)
        elif not line:
            if self._data and self._size <= MOST:
                self._extractor.read(b"\n".join(self._data))
            self._data, self._size = [], 0
        elif line.startswith(b"data:"):
            self._size += len(line)
            if self._size <= MOST:
                self._data.append(line[5:].strip(_SPACE))
