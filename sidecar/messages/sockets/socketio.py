"""Messages of socket.io: packets around JSON, with the binary attachments that they announce."""

from __future__ import annotations

import re
import time
from typing import Any, Final

import orjson

from sidecar.decision import Finding
from sidecar.messages.protocols.catalogue import AUTO
from sidecar.messages.protocols.pages import CHAINLIT, NICEGUI, SENDING
from sidecar.messages.socketio import KEEPALIVES, PACKET, start_of_json
from sidecar.messages.sockets.inspector import SocketInspector, first, message
from sidecar.messages.sockets.results import (
    HOLD_MESSAGE,
    KEEP_MESSAGE,
    Inspected,
    KeepMessage,
    RefuseMessage,
    SocketMessage,
)
from sidecar.messages.strict_json import Fault, parse
from sidecar.messages.text_finder import Texts
from sidecar.vocabulary import Code, Event

SOUND: Final = ("audio_chunk",)
"""Packets whose attachments are sound, ten and more a second."""
TYPED: Final = re.compile(r',\s*"args"\s*:\s*\[\s*"\\"')
"""Where an event of NiceGUI has what was typed: JSON of a string, in a string."""


class SocketIoInspector(SocketInspector):
    """Any backend that uses socket.io."""

    _attachments = 0  # binary messages that the last packet announced
    _dropped = False  # … which was refused
    _namespace = ""

    def text(self, text: str) -> Inspected:
        """Decide about one packet."""
        if text in KEEPALIVES:
            return KEEP_MESSAGE
        if self.rules.protocol is AUTO and not text[0].isdigit():
            return super().text(text)
        start = start_of_json(text)
        if start is None:
            return self.unreadable("not_a_packet")
        if not start:
            return KEEP_MESSAGE
        packet = PACKET.match(text)
        assert packet is not None
        self._namespace = packet[3] or ""
        found = self.json(text[:start], text[start:].encode("utf-8", "surrogatepass"))
        self._attachments = int(packet[2] or 0)
        self._dropped = isinstance(found, RefuseMessage)
        return found

    def binary(self, data: bytes) -> Inspected:
        """Decide about one attachment."""
        if self._attachments:
            self._attachments -= 1
            if self._dropped:
                return HOLD_MESSAGE
            if first(self._value, 0) in SOUND:
                return KEEP_MESSAGE
            return KeepMessage((Finding(Event.MESSAGE_UNREADABLE, {"reason": "binary", "bytes": len(data)}),))
        return super().binary(data) if self.rules.protocol is AUTO else self.unreadable("binary")

    def too_big(self, head: bytes, size: int, *, binary: bool) -> Inspected | None:
        """Refuse a packet that was not kept, and its attachments; an attachment goes with its packet."""
        if binary and self._attachments:
            self._attachments -= 1
            return HOLD_MESSAGE if self._dropped else None
        packet = None if binary else PACKET.match(head.decode("ascii", "replace"))
        if packet is not None:
            self._namespace, self._attachments, self._dropped = packet[3] or "", int(packet[2] or 0), True
        return super().too_big(head, size, binary=binary)

    def replies(self, code: Code) -> tuple[SocketMessage, ...]:
        """Return an event `error`, which pages without a handler for it ignore."""
        error = {"message": code.sentence, "code": code.name, "request_id": self.facts.request_id}
        return self.event("error", error)

    def event(self, name: str, value: Any) -> tuple[SocketMessage, ...]:
        """Return one event for the client, in the namespace of its last packet."""
        return message([name, value], f"42{self._namespace}")


class ChainlitInspector(SocketIoInspector):
    """Chainlit: a refusal is in the conversation, under the message that was refused."""

    def counts(self, value: Any, texts: Texts) -> bool:
        """Return whether a message or an answer to a question came; settings and signals say nothing new."""
        return bool(texts) and first(value, 0) not in ("chat_settings_change", "chat_settings_edit", "window_message")

    def replies(self, code: Code) -> tuple[SocketMessage, ...]:
        """Return an error in the conversation, and the end of the task that the page waits for."""
        error = {
            "id": self.fresh_id(),
            "name": "Error",
            "type": "assistant_message",
            "output": code.sentence,
            "isError": True,
            "createdAt": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.facts.now())),
        }
        return (*self.event("new_message", error), *self.event("task_end", {}))


class NiceGuiInspector(SocketIoInspector):
    """NiceGUI: each key stroke sends what is in the box; a key or a click sends it off."""

    def counts(self, value: Any, texts: Texts) -> bool:  # noqa: ARG002
        """Return whether a person sent something off; what is typed comes again with each key stroke."""
        event = self._argument(value)
        return isinstance(event, dict) and event.get("type") in SENDING

    def replies(self, code: Code) -> tuple[SocketMessage, ...]:
        """Return a note, as text, at the top of the page."""
        return self.event("notify", {"message": code.sentence, "color": "negative", "position": "top"})

    def instead(self) -> tuple[SocketMessage, ...]:
        """Empty the box on the server: it would keep what was typed before, and send that off."""
        if not isinstance(self._argument(self._value), str):
            return ()
        event = {**self._value[1], "args": [orjson.dumps("").decode()]}
        return self.event("event", event)

    def begun(self, head: bytes) -> Any:
        """Return the event that a text was typed with, without the text."""
        text = head.decode("utf-8", "replace")
        typed = TYPED.search(text)
        if typed is None:
            return None
        found = parse(f'{text[start_of_json(text) or 0 : typed.start()]},"args":["\\"\\""]}}]'.encode())
        return None if type(found) is Fault else found

    def _argument(self, value: Any) -> Any:
        """Return the first argument of an event, which is JSON in a string."""
        event = first(value, 1)
        args = event.get("args") if isinstance(event, dict) else None
        text = first(args, 0)
        if not isinstance(text, str):
            return None
        found = parse(text.encode("utf-8", "surrogatepass"))
        return None if type(found) is Fault else found


INSPECTORS: Final = {CHAINLIT.name: ChainlitInspector, NICEGUI.name: NiceGuiInspector}
"""The protocols whose refusals are not an event `error`."""
