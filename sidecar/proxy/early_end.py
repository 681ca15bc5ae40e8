"""Ending what runs: an answer or a WebSocket that may not go on, in the words of its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.vocabulary import Code

BLANK: Final = b"\n\n"
"""What nearly all events end with."""


@dataclass(frozen=True)
class EarlyEnd:
    """Why an exchange ends before its end.

    code    its sentence and name are what the client reads, its event is what is recorded
    detail  what the event says besides
    """

    code: Code
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def close_reason(self) -> str:
        """Return the reason in a WebSocket's close frame: at most 123 bytes (RFC 6455 §5.5)."""
        return self.code.sentence[:123]


def after_event(tail: bytes) -> bool:
    """Return whether an event stream is between two events; `tail`: its last four bytes, fewer at its start."""
    return not tail or tail.endswith((BLANK, b"\r\n\r\n", b"\r\r"))


def end_of_event(tail: bytes, data: bytes) -> int:
    """Return how many bytes of `data` belong to the event that is under way; -1: all, and more is to come.

    tail  the last four bytes before `data`
    """
    text, before = tail + data, len(tail)
    ends = []
    for mark in (BLANK, b"\r\n\r\n", b"\r\r"):
        at = text.find(mark, max(0, before - len(mark) + 1))
        if at >= 0:
            ends.append(at + len(mark) - before)
    return min(ends, default=-1)
