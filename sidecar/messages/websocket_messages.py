"""The same for one WebSocket message: JSON, or a socket.io packet that holds JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from sidecar.decision import Detail, Finding
from sidecar.messages.content_filter import Patterns
from sidecar.messages.message_guard import MessageGuard
from sidecar.messages.protocols import AUTO, SOCKET_IO, Protocol, recognise
from sidecar.messages.sanitize import Markup, sanitize_texts
from sidecar.messages.socketio import KEEPALIVES, start_of_json
from sidecar.messages.splice import splice
from sidecar.messages.strict_json import Fault, parse
from sidecar.messages.text_finder import TextFinder, Texts, counted
from sidecar.vocabulary import Code, Event

VIOLATES_POLICY: Final = 1008  # RFC 6455 §7.4.1
TOO_BIG: Final = 1009


@dataclass(frozen=True, slots=True)
class KeepMessage:
    """The message goes on as it came; `texts` is how many it carries."""

    texts: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class RewriteMessage:
    """The message goes on changed: as `text`."""

    text: str
    findings: tuple[Finding, ...] = ()
    texts: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class RefuseMessage:
    """The connection is closed with `close` and `reason` (at most 123 bytes: RFC 6455 §5.5)."""

    close: int
    reason: str
    code: Code
    detail: Detail


FrameInspection: TypeAlias = KeepMessage | RewriteMessage | RefuseMessage
FRAME_KEEP: Final = KeepMessage()


@dataclass(frozen=True, slots=True)
class WebSocketMessageGuard:
    """Inspect the messages that a client sends on one route's WebSocket."""

    protocol: Protocol
    finder: TextFinder
    max_chars: int | None
    markup: Markup
    pass_uninspectable: bool = False
    patterns: Patterns | None = None

    def inspect_text(self, text: str, path: str = "") -> FrameInspection:
        """Decide about one complete text message. `path` helps `auto` to recognise the protocol."""
        if text in KEEPALIVES:
            return FRAME_KEEP
        start = 0
        if self.protocol.name in SOCKET_IO or (self.protocol is AUTO and text[0].isdigit()):
            found = start_of_json(text)
            if found is None:
                return self._uninspectable("not_a_packet")
            if not found:
                return FRAME_KEEP
            start = found
        body = text[start:].encode("utf-8", "surrogatepass")
        value = parse(body)
        if type(value) is Fault:
            return self._uninspectable(value.value)
        texts = self.finder.find(value)
        if texts is None or self.finder.disguised(value):
            return refuse(Code.MESSAGE_INVALID, {"reason": "no_text"})
        return self._judge(text[:start], body, value, texts, path)

    def inspect_binary(self, data: bytes, path: str = "") -> FrameInspection:
        """Decide about one complete binary message: many servers read JSON from it as they do from a text."""
        if self.protocol.name in SOCKET_IO:
            return FRAME_KEEP  # an attachment: packets are texts
        encoding = json.detect_encoding(data)  # as Python's reader guesses it, UTF-16 and UTF-32 included
        text = data.decode(encoding, "replace")
        if text.lstrip(" \t\r\n\ufeff")[:1] not in ("{", "[", '"'):
            return FRAME_KEEP
        try:
            json.loads(text.lstrip("\ufeff"), strict=False, parse_int=str)
        except ValueError:
            return FRAME_KEEP  # sound, a picture, an attachment
        except RecursionError:
            return self._uninspectable(Fault.TOO_DEEP.value)
        try:
            return self.inspect_text(data.decode(), path)
        except UnicodeDecodeError:
            return self._uninspectable(Fault.NOT_UTF8.value)

    def _judge(self, prefix: str, body: bytes, value: object, texts: Texts, path: str) -> FrameInspection:
        if self.max_chars is not None:
            protocol = recognise(path, value) or AUTO if self.protocol is AUTO else self.protocol
            length = counted(protocol, value, texts)
            if length > self.max_chars:
                return refuse(Code.MESSAGE_TOO_LONG, {"characters": length, "limit": self.max_chars})
        if self.patterns is not None:
            name = self.patterns.first(texts)
            if name is not None:
                return refuse(Code.CONTENT_BLOCKED, {"pattern": name})
        cleaned = sanitize_texts(texts, self.markup)
        if cleaned is None:
            return refuse(Code.MESSAGE_INVALID, {"reason": "markup"})
        changes, counts = cleaned
        if not counts:
            return KeepMessage(len(texts)) if texts else FRAME_KEEP
        finding = Finding(Event.MESSAGE_SANITIZED, counts.detail())
        return RewriteMessage(prefix + splice(body, changes).decode(), (finding,), len(texts))

    def _uninspectable(self, reason: str) -> FrameInspection:
        return FRAME_KEEP if self.pass_uninspectable else refuse(Code.MESSAGE_INVALID, {"reason": reason})


def refuse(code: Code, detail: Detail) -> RefuseMessage:
    close = TOO_BIG if code is Code.MESSAGE_TOO_LONG else VIOLATES_POLICY
    return RefuseMessage(close, code.sentence, code, detail)


def frame_guard(guard: MessageGuard, patterns: Patterns | None = None) -> WebSocketMessageGuard:
    """Build the guard of a route's WebSocket from the one of its bodies, and the content filter's patterns.

    Frames without any text are what protocols are made of; only what stands at a text's place must be one.
    """
    places = replace(guard.reader.finder, only=None)
    return WebSocketMessageGuard(
        guard.reader.protocol, places, guard.max_chars, guard.markup, guard.pass_uninspectable, patterns
    )
