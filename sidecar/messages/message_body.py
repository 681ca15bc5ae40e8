"""One request body as texts: read whatever kind it is, and put changed texts back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.exchange import Exchange
from sidecar.json_path import EMBEDDED, Location
from sidecar.messages import content_type, forms, socketio
from sidecar.messages.field_names import FormNames
from sidecar.messages.odd_values import odd
from sidecar.messages.protocols.catalogue import AUTO
from sidecar.messages.protocols.definition import Protocol
from sidecar.messages.protocols.pages import NICEGUI, SENDING, SOCKET_IO
from sidecar.messages.protocols.recognition import recognise
from sidecar.messages.splice import splice
from sidecar.messages.strict_json import Fault, parse, parse_once
from sidecar.messages.text_finder import TextFinder, Texts, counted, of_roles
from sidecar.vocabulary import Code, Event

BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
MAX_OPENED: Final = 1 << 20
NO_FIELDS: Final = FormNames(())


@dataclass(frozen=True)
class BodyProblem:
    """Why a body is not a message: the code for the client, a reason for the log.

    `uninspectable`: the body could not be looked into, or no text was found in it (`on_uninspectable`
    decides); otherwise it was, and holds no message of this protocol.
    """

    code: Code
    reason: str
    uninspectable: bool = True
    event: Event | None = None


UNREAD: Final = BodyProblem(Code.MESSAGE_INVALID, "no_text", event=Event.MESSAGE_UNREADABLE)
"""No text was found where the operation has one."""


@dataclass(frozen=True)
class Packet:
    """One packet of a long-polling body; its texts are in the message under its number."""

    prefix: str
    body: bytes


@dataclass(init=False)  # a generated constructor is not compiled
class Message:
    """A body that was read. `body` is without its content coding, and `opened` says that one was named;
    `value` is None for a form.
    """

    body: bytes
    opened: bool
    texts: Texts
    protocol: Protocol
    value: Any
    fields: tuple[forms.Field, ...]
    media: content_type.ContentType
    packets: tuple[Packet, ...]

    def __init__(
        self,
        body: bytes,
        opened: bool,
        texts: Texts,
        protocol: Protocol,
        value: Any = None,
        fields: tuple[forms.Field, ...] = (),
        media: content_type.ContentType = content_type.JSON,
        packets: tuple[Packet, ...] = (),
    ) -> None:
        self.body = body
        self.opened = opened
        self.texts = texts
        self.protocol = protocol
        self.value = value
        self.fields = fields
        self.media = media
        self.packets = packets

    def length(self) -> int:
        """Return the length in characters that the limit applies to."""
        if self.packets:
            return counted(self.protocol, None, [(place[1:], text) for place, text in self.texts])
        return counted(self.protocol, self.value, self.texts)

    def says_new(self) -> bool:
        """Return whether the message carries a new text of a user, which limits count."""
        if not self.protocol.counted_by_text:
            return True
        if self.protocol is NICEGUI:  # what is typed comes with each key stroke, and is sent off by a key or a click
            return any(place[-2:] == (EMBEDDED, "type") and text in SENDING for place, text in self.texts)
        return self.length() > 0

    def of_roles(self, roles: frozenset[str]) -> Texts:
        """Return the texts that claim one of these roles; all of a form."""
        return of_roles(self.protocol, self.value, self.texts, roles)

    def with_texts(self, changes: Mapping[Location, str]) -> bytes | None:
        """Return the body with these texts changed; None if they do not fit into it."""
        if self.packets:
            return self._with_packets(changes)
        if not self.fields:
            return splice(self.body, changes)
        texts = {str(place[0]): text for place, text in changes.items()}
        quoted = self.media.kind is content_type.Kind.URLENCODED
        body = forms.put_back(self.body, list(self.fields), texts, quoted=quoted)
        # Removing hidden characters must not have made a line of text into a boundary.
        boundary = b"--" + self.media.boundary
        return body if quoted or body.count(boundary) == self.body.count(boundary) else None

    def _with_packets(self, changes: Mapping[Location, str]) -> bytes:
        by_packet: dict[object, dict[Location, str]] = {}
        for (number, *place), text in changes.items():
            by_packet.setdefault(number, {})[tuple(place)] = text
        return socketio.RECORD_SEPARATOR.encode().join(
            packet.prefix.encode() + (splice(packet.body, by_packet[number]) if number in by_packet else packet.body)
            for number, packet in enumerate(self.packets)
        )


@dataclass(frozen=True)
class MessageReader:
    """How the bodies of one route are read."""

    protocol: Protocol
    finder: TextFinder
    form_fields: FormNames = NO_FIELDS
    max_opened: int = MAX_OPENED

    def read(self, exchange: Exchange, body: bytes) -> Message | BodyProblem | None:
        """Return the message, why there is none, or None for a request that carries no body."""
        head = exchange.head
        if not body:
            return None if head.method in BODILESS or self.protocol.may_be_empty() else UNREAD
        index = head.index
        kind = content_type.media_of(index.get(b"content-type"))
        if isinstance(kind, str):
            return BodyProblem(Code.UNSUPPORTED_MEDIA_TYPE, kind)
        encoding = index.get(b"content-encoding")
        if encoding is not None:
            opened = content_type.open_body(encoding, body, self.max_opened)
            if isinstance(opened, str):
                code = Code.BODY_TOO_LARGE if opened == "too_big" else Code.UNSUPPORTED_MEDIA_TYPE
                return BodyProblem(code, opened)
            body = opened
        if kind.kind is content_type.Kind.JSON:
            return self._json(exchange, body, encoding is not None)
        if kind.kind is content_type.Kind.TEXT:
            return self._packets(body, encoding is not None)
        return self._form(kind, head.target, body, encoding is not None)

    def _json(self, exchange: Exchange, body: bytes, opened: bool) -> Message | BodyProblem:
        path = exchange.head.path
        value = parse_once(exchange, body)
        if type(value) is Fault:
            return BodyProblem(Code.MESSAGE_INVALID, value.value)
        texts = self.finder.find(value)
        if texts is None:
            return BodyProblem(Code.MESSAGE_INVALID, "no_text", uninspectable=False)
        if self.finder.disguised(value):
            return BodyProblem(Code.MESSAGE_INVALID, "odd_field_name", uninspectable=False)
        protocol = self.protocol
        if not holds_message(protocol, texts) and not may_be_textless(protocol, path, value):
            return UNREAD
        if protocol is AUTO:
            protocol = recognise(path, value) or AUTO
        return Message(body, opened, texts, protocol, value)

    def _packets(self, body: bytes, opened: bool) -> Message | BodyProblem:
        """Read the packets of one long-polling POST: where every socket.io client begins."""
        if self.protocol.name not in SOCKET_IO:
            return BodyProblem(Code.UNSUPPORTED_MEDIA_TYPE, "content_type")
        try:
            split = body.decode().split(socketio.RECORD_SEPARATOR)
        except UnicodeDecodeError:
            return BodyProblem(Code.MESSAGE_INVALID, "not_utf8")
        if len(split) > socketio.MAX_PACKETS:
            return BodyProblem(Code.MESSAGE_INVALID, "too_complex")
        read: list[Packet] = []
        texts: Texts = []
        for number, text in enumerate(split):
            start = socketio.start_of_json(text)
            if start is None:
                return BodyProblem(Code.MESSAGE_INVALID, "not_a_packet")
            packet = Packet(text[:start], text[start:].encode())
            read.append(packet)
            if start:
                value = parse(packet.body)
                if type(value) is Fault:
                    return BodyProblem(Code.MESSAGE_INVALID, value.value)
                fault = odd(self.protocol, value, packet.body)
                if fault:
                    return BodyProblem(Code.MESSAGE_INVALID, fault, event=Event.MESSAGE_UNREADABLE)
                found = self.finder.find(value)
                if found is None or self.finder.disguised(value):
                    return BodyProblem(Code.MESSAGE_INVALID, "no_text", uninspectable=False)
                if not found and not self.protocol.may_be_textless(value):
                    return UNREAD
                texts += [((number, *place), one) for place, one in found]
        return Message(body, opened, texts, self.protocol, packets=tuple(read))

    def _form(self, kind: content_type.ContentType, target: bytes, body: bytes, opened: bool) -> Message | BodyProblem:
        if not self.form_fields:
            return BodyProblem(Code.UNSUPPORTED_MEDIA_TYPE, "content_type")
        if b"?" in target and self.form_fields.in_query(target):
            return BodyProblem(Code.MESSAGE_INVALID, "field_in_query")
        if kind.kind is content_type.Kind.URLENCODED:
            fields = forms.urlencoded(body, self.form_fields)
        else:
            fields = forms.multipart(body, kind.boundary, self.form_fields)
        if isinstance(fields, str):
            return BodyProblem(Code.MESSAGE_INVALID, fields)
        if not fields and not self.protocol.may_be_empty():
            return UNREAD
        texts: Texts = [((field.name,), field.text) for field in fields]
        return Message(body, opened, texts, self.protocol, None, tuple(fields), kind)


def holds_message(protocol: Protocol, texts: Texts) -> bool:
    """Return whether one of the texts is a message's own, and not only what stands beside one."""
    return protocol.holds_message([where for where, _ in texts]) if protocol.beside else bool(texts)


def may_be_textless(protocol: Protocol, path: str, value: Any) -> bool:
    """Return whether a message in which no text was found is one of those that have none.

    With `auto`, by the protocol of the path alone: a body could be dressed as any protocol, but the path
    decides who reads it.
    """
    spoken = recognise(path, None) if protocol is AUTO else protocol
    return spoken is not None and spoken.may_be_textless(value)
