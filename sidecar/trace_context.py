"""W3C Trace Context: which distributed trace a request belongs to (www.w3.org/TR/trace-context-2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST: Final = 256
_BATCH: Final = 64
"""Ids that are drawn at once: a call to the system costs more than all that is done with one."""
_TRACE: Final = 32
_SPAN: Final = 16


class TraceContext(NamedTuple):
    """The trace of one request.

    trace_id   32 hexadecimal digits
    parent_id  the caller's span, 16 digits; "" where the trace begins here
    span_id    our own span; "" while no spans are made
    sampled    the caller records this trace
    header     the `traceparent` that is sent to the backend
    """

    trace_id: str
    parent_id: str
    span_id: str
    sampled: bool
    header: bytes


class Traces(Protocol):
    """Gives each request its trace."""

    def of(self, traceparent: bytes | None) -> TraceContext:
        """Return the trace of a request from its `traceparent` value; None is a request without one."""
        ...


def read_traceparent(value: bytes | None) -> TraceContext | None:
    """Return the trace that a client's `traceparent` names, passed on as it came; None if it is not valid (§3.2.2)."""
    if value is None or len(value) > _LONGEST:
        return None
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more) or not trace.strip(b"0") or not span.strip(b"0"):
        return None
    return TraceContext(trace.decode(), span.decode(), "", int(flags, 16) & 1 == 1, value)


class NewIds:
    """Random trace and span ids."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random = random_bytes
        self._digits = ""
        self._at = 0

    def draw(self) -> tuple[str, str]:
        """Return a trace id and a span id."""
        at = self._at
        if at >= len(self._digits):
            self._digits, at = self._random(_BATCH * (_TRACE + _SPAN) // 2).hex(), 0
        self._at = end = at + _TRACE + _SPAN
        trace, span = self._digits[at : at + _TRACE], self._digits[at + _TRACE : end]
        return trace, span


class PassedTraces:
    """Passes a client's trace on; begins one that is not recorded where there is none."""

    def __init__(self, ids: NewIds) -> None:
        self._ids = ids

    def of(self, traceparent: bytes | None) -> TraceContext:
        """Return the client's trace if `traceparent` is well formed, and otherwise a new trace that is not sampled."""
        if traceparent is not None:
            passed = read_traceparent(traceparent)
            if passed is not None:
                return passed
        trace, span = self._ids.draw()
        return TraceContext(trace, "", "", False, f"00-{trace}-{span}-00".encode())
