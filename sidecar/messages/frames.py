"""The same for one WebSocket text message: JSON, or a socket.io packet that holds JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from sidecar.decision import Detail, Finding
from sidecar.messages.clean import clean
from sidecar.messages.protocols import AUTO, SOCKET_IO, Protocol, recognise
from sidecar.messages.sanitize import NONE, Counts, Markup
from sidecar.messages.scan import Fault, parse
from sidecar.messages.splice import splice
from sidecar.messages.texts import Finder, Texts, counted
from sidecar.vocabulary import Code, Event

if TYPE_CHECKING:
    from sidecar.messages.inspect import MessageGuard

VIOLATES_POLICY: Final = 1008  # RFC 6455 §7.4.1
TOO_BIG: Final = 1009

KEEPALIVES: Final = frozenset({"", "ping", "pong", "2", "3", "2probe", "3probe", "1", "5", "6"})

# engine.io message (4), socket.io type, attachments, namespace, acknowledgement id; then JSON.
# https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
PACKET = re.compile(r"4([0-6])(?:(\d{1,3})-)?(/[^,\x00-\x20]{0,200},)?(\d{1,18})?")
CARRIES_TEXT: Final = frozenset("2356")  # events and acknowledgements, binary ones included
NAMELESS: Final = frozenset("14")  # disconnect, connect error


@dataclass(frozen=True, slots=True)
class FrameKeep:
    """The message goes on as it came."""


@dataclass(frozen=True, slots=True)
class FrameRewrite:
    """The message goes on changed: as `text`."""

    text: str
    findings: tuple[Finding, ...] = ()
    counts: Counts = NONE


@dataclass(frozen=True, slots=True)
class FrameRefuse:
    """The connection is closed with `close` and `reason` (at most 123 bytes: RFC 6455 §5.5)."""

    close: int
    reason: str
    code: Code
    detail: Detail


FrameInspection: TypeAlias = FrameKeep | FrameRewrite | FrameRefuse
FRAME_KEEP: Final = FrameKeep()


@dataclass(frozen=True, slots=True)
class FrameGuard:
    """Inspect the text messages that a client sends on one route's WebSocket."""

    protocol: Protocol
    finder: Finder
    max_chars: int | None
    markup: Markup
    pass_uninspectable: bool = False

    def inspect_text(self, text: str, path: str = "") -> FrameInspection:
        """Decide about one complete text message. `path` helps `auto` to recognise the protocol."""
        if text in KEEPALIVES:
            return FRAME_KEEP
        start = 0
        if self._is_packet(text):
            packet = PACKET.match(text)
            if packet is None:
                return self._uninspectable("not_a_packet")
            if packet[1] not in CARRIES_TEXT:
                # Connect carries credentials, which are the backend's own business.
                return FRAME_KEEP if packet[1] == "0" or packet.end() == len(text) else self._other(packet[1])
            start = packet.end()
        body = text[start:].encode("utf-8", "surrogatepass")
        value = parse(body)
        if type(value) is Fault:
            return self._uninspectable(value.value)
        texts = self.finder.find(value)
        if texts is None:
            return refuse(Code.MESSAGE_INVALID, {"reason": "no_text"})
        return self._judge(text[:start], body, value, texts, path)

    def _judge(self, prefix: str, body: bytes, value: object, texts: Texts, path: str) -> FrameInspection:
        if self.max_chars is not None:
            protocol = recognise(path, value) or AUTO if self.protocol is AUTO else self.protocol
            length = counted(protocol, value, texts)
            if length > self.max_chars:
                return refuse(Code.MESSAGE_TOO_LONG, {"characters": length, "limit": self.max_chars})
        cleaned = clean(texts, self.markup)
        if cleaned is None:
            return refuse(Code.MESSAGE_INVALID, {"reason": "markup"})
        changes, counts = cleaned
        if not counts:
            return FRAME_KEEP
        finding = Finding(Event.MESSAGE_SANITIZED, counts.detail())
        return FrameRewrite(prefix + splice(body, changes).decode(), (finding,), counts)

    def _is_packet(self, text: str) -> bool:
        return self.protocol.name in SOCKET_IO or (self.protocol is AUTO and text[0].isdigit())

    def _uninspectable(self, reason: str) -> FrameInspection:
        return FRAME_KEEP if self.pass_uninspectable else refuse(Code.MESSAGE_INVALID, {"reason": reason})

    def _other(self, kind: str) -> FrameInspection:
        return FRAME_KEEP if kind in NAMELESS else self._uninspectable("not_a_packet")


def refuse(code: Code, detail: Detail) -> FrameRefuse:
    close = TOO_BIG if code is Code.MESSAGE_TOO_LONG else VIOLATES_POLICY
    return FrameRefuse(close, code.sentence, code, detail)


def frame_guard(guard: MessageGuard) -> FrameGuard:
    """Build the guard of a route's WebSocket from the one of its bodies.

    Frames without any text are what protocols are made of; only what stands at a text's place must be one.
    """
    protocol = replace(guard.reader.protocol, required=False) if guard.reader.protocol is not AUTO else AUTO
    places = replace(guard.reader.finder, required=False, only=None)
    return FrameGuard(protocol, places, guard.max_chars, guard.markup, guard.pass_uninspectable)
