"""Ends a stream before its end, in the words of its protocol: for budgets, and for all else that may end one.

A response filter raises StreamEnded from `feed` (or from what it has put into `exchange.pending`). The proxy writes
`last`, ends the body, and cancels the backend's work.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.messages.protocols.definition import Protocol, Shape
from sidecar.messages.refusals import spoken, stream_refusal
from sidecar.vocabulary import Code


class StreamEnded(Exception):
    """A stream ends here.

    last      the bytes that are still to be written: what came before the end, and the event that reports it
    complete  the clients of the protocol read that event as an error, so the body may end in order; others have to
              see that it was broken off
    """

    def __init__(self, last: bytes, *, complete: bool) -> None:
        super().__init__("a stream was ended")
        self.last = last
        self.complete = complete


@dataclass(frozen=True, slots=True)
class LastEvent:
    """The error event at the end of a stream; `complete` as in StreamEnded."""

    data: bytes
    complete: bool


def last_event(
    protocol: Protocol | str, code: Code, request_id: str, *, path: str = "", sentence: str = ""
) -> LastEvent:
    """Return the event that reports an early end to the client of a stream of server-sent events.

    `path` says which protocol is spoken where the route names none; `sentence` replaces the code's own.
    """
    data = stream_refusal(protocol, code, request_id, path=path, sentence=sentence)
    return LastEvent(data, spoken(protocol, path).shape is not Shape.PLAIN)


def ended_events(before: bytes, protocol: Protocol, code: Code, request_id: str, sentence: str) -> StreamEnded:
    """End a stream of server-sent events after `before`, which ends with a whole event."""
    last = last_event(protocol, code, request_id, sentence=sentence)
    return StreamEnded(before + last.data, complete=last.complete)
