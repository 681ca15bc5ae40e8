"""Messages of a WebSocket: each is a whole unit, and a text may run over many of them."""

from __future__ import annotations

import json
from typing import Any

import orjson

from sidecar.redaction.delta_stream import Changes, DeltaStream, Event
from sidecar.redaction.deltas import Delta, Deltas, put
from sidecar.redaction.scanner import Scanner, clean


class FrameFilter:
    """Clean one direction of a WebSocket, message by message; borders of messages stay where they are."""

    __slots__ = ("_deltas", "_joined", "_scanner", "counts")

    def __init__(self, scanner: Scanner, deltas: Deltas, counts: dict[str, int] | None = None) -> None:
        self._scanner = scanner
        self._deltas = deltas
        self.counts: dict[str, int] = {} if counts is None else counts
        self._joined = DeltaStream(scanner, self.counts)

    def feed(self, message: bytes) -> list[bytes]:
        """Take a complete text message; return those that may be sent now, in order."""
        raw = clean(message, self._scanner, self.counts)
        event = _parsed(raw)
        deltas = [Delta((), (), raw.decode("utf-8", "replace"))] if event is None else self._deltas.find(event)
        return self._joined.push(Event(raw, _rebuilt), deltas)

    def finish(self) -> list[bytes]:
        return self._joined.finish()


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _rebuilt(raw: bytes, changed: Changes) -> bytes:
    event = json.loads(raw) if _parsed(raw) is not None else ""
    for path, text in changed.items():
        if not path and not raw.startswith(b'"'):
            return text.encode()
        event = put(event, path, text)
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
