"""Ends a stream before its end, in the words of its protocol: for budgets, and for all else that may end one.

A response filter raises StreamEnded from `feed` (or from what it has put into `exchange.pending`). The proxy writes
`last`, ends the body, and cancels the backend's work.
"""

from __future__ import annotations

from sidecar.messages.protocols.definition import Protocol, Shape
from sidecar.messages.refusals import stream_refusal
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


def ended_events(before: bytes, protocol: Protocol, code: Code, request_id: str, sentence: str) -> StreamEnded:
    """End a stream of server-sent events after `before`, which ends with a whole event."""
    event = stream_refusal(protocol, code, request_id, sentence=sentence)
    return StreamEnded(before + event, complete=protocol.shape is not Shape.PLAIN)
