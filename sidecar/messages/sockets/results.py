"""What the inspection of one socket message can say. Values only: the relay acts on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from sidecar.decision import Detail, Finding
from sidecar.vocabulary import Code, Event


@dataclass(frozen=True, slots=True)
class SocketMessage:
    """One complete message of a WebSocket."""

    data: bytes
    binary: bool = False


@dataclass(frozen=True, slots=True)
class KeepMessage:
    """The message goes on as it came.

    texts       how many texts were looked at, and their `characters` together
    counts      it carries a new text: limits that count chat messages count it
    """

    findings: tuple[Finding, ...] = ()
    texts: int = 0
    characters: int = 0
    counts: bool = False


@dataclass(frozen=True, slots=True)
class RewriteMessage:
    """`messages` go on in its place: the message changed, none yet, or those that were held back before it too."""

    messages: tuple[SocketMessage, ...]
    findings: tuple[Finding, ...] = ()
    texts: int = 0
    characters: int = 0
    counts: bool = False


@dataclass(frozen=True, slots=True)
class RefuseMessage:
    """The message does not go on, and the socket stays open.

    event    is recorded in place of the code's own
    replies  tell the client, as its page shows errors
    forward  goes to the backend instead, where it waits for the rest of something
    """

    code: Code
    detail: Detail
    event: Event | None = None
    replies: tuple[SocketMessage, ...] = ()
    forward: tuple[SocketMessage, ...] = ()

    @property
    def recorded(self) -> Event:
        """The event to record."""
        return self.event or self.code.event or Event.MESSAGE_INVALID


Inspected: TypeAlias = KeepMessage | RewriteMessage | RefuseMessage
KEEP_MESSAGE: Final = KeepMessage()
HOLD_MESSAGE: Final = RewriteMessage(())
