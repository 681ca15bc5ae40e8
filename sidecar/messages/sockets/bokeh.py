"""Messages of Bokeh and Panel: header, metadata and content in a text message each, then buffers.

The content of a refused message becomes one without events, so that the server does not wait for it. What
tells the page is a small element of its own, which every page of Bokeh can show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from sidecar.decision import Finding
from sidecar.json_path import Location
from sidecar.messages.protocols.definition import has_string
from sidecar.messages.sockets import bokeh_files
from sidecar.messages.sockets.inspector import SocketInspector, message
from sidecar.messages.sockets.results import (
    HOLD_MESSAGE,
    KEEP_MESSAGE,
    Inspected,
    KeepMessage,
    RefuseMessage,
    RewriteMessage,
    SocketMessage,
)
from sidecar.messages.strict_json import Fault, parse
from sidecar.messages.text_finder import Texts
from sidecar.vocabulary import Code, Event

WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
MAX_BUFFERS: Final = 1000
MAX_BUFFER_HEAD: Final = 256
NO_EVENTS: Final = SocketMessage(b'{"events":[]}')
NOTE_STYLES: Final = [
    ["position", "fixed"], ["right", "16px"], ["bottom", "96px"], ["z-index", "9999"], ["padding", "8px 16px"],
    ["border-radius", "6px"], ["background", "#b00020"], ["color", "#fff"], ["pointer-events", "none"],
]  # fmt: skip
NOTE_FADES: Final = ":host{animation:gone 10s forwards}@keyframes gone{90%{opacity:1}to{opacity:0;visibility:hidden}}"


class Part(IntEnum):
    """What comes next in a message."""

    HEADER = 0
    METADATA = 1
    CONTENT = 2
    BUFFERS = 3


class Fragments:
    """Counts the parts of messages one way."""

    def __init__(self) -> None:
        self.part = Part.HEADER
        self.buffers = 0  # messages that are still to come: a header and a payload for each buffer

    def take(self, buffers: int = 0) -> None:
        """Note one part; `buffers` are those that a header announces."""
        if self.part is Part.HEADER:
            self.buffers = 2 * buffers
        if self.part is Part.BUFFERS:
            self.buffers -= 1
        else:
            self.part = Part(self.part + 1)
        if self.part is Part.BUFFERS and self.buffers <= 0:
            self.part = Part.HEADER


class BokehInspector(SocketInspector):
    """Bokeh's protocol, as the server reads it: by the order of the parts."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._from_client = Fragments()
        self._to_client = Fragments()
        self._held: list[SocketMessage] = []  # header and metadata of the message that is under way
        self._kind = ""
        self._faulty = False  # … which is refused once its content has come
        self._dropped = False  # … and so are its buffers
        self._files: set[tuple[object, ...]] = set()  # places of events that hold a file
        self._inputs = bokeh_files.FileInputs()
        self._letters: dict[Location, int] = {}  # lengths of data for inputs that take no files

    def text(self, text: str) -> Inspected:
        """Decide about one part."""
        body = text.encode("utf-8", "surrogatepass")
        part = self._from_client.part
        if part is Part.HEADER:
            return self._header(body)
        if part is Part.METADATA:
            self._from_client.take()
            value = parse(body)
            # Bokeh's own pages send `{}`; what else is there is read by nothing that could be looked up.
            self._faulty = not isinstance(value, dict) or has_string(value)
            if self._faulty and self.rules.pass_uninspectable:
                self._faulty = False
                self._held.append(SocketMessage(body))
                return RewriteMessage((), (Finding(Event.MESSAGE_UNREADABLE, {"reason": "metadata"}),))
            self._held.append(SocketMessage(b"{}" if self._faulty else body))
            return HOLD_MESSAGE
        self._from_client.take()
        if part is Part.CONTENT:
            return self._content(body)
        return self._buffer(fine=len(body) <= MAX_BUFFER_HEAD and b"<" not in body)

    def binary(self, data: bytes) -> Inspected:
        """Decide about the payload of a buffer; no other part is binary."""
        if self._from_client.part is not Part.BUFFERS:
            return self.unreadable("binary")
        self._from_client.take()
        if self._dropped or not data:
            return self._buffer(fine=True)
        return KeepMessage((Finding(Event.MESSAGE_UNREADABLE, {"reason": "binary", "bytes": len(data)}),))

    def too_big(self, head: bytes, size: int, *, binary: bool) -> Inspected | None:  # noqa: ARG002
        """Refuse content that was not kept; a buffer goes with its message, and no other part is large."""
        part, self._value = self._from_client.part, None
        if part is Part.CONTENT and not binary:
            self._from_client.take()
            return self.refused(Code.MESSAGE_TOO_LONG, {"bytes": size})
        if part is Part.BUFFERS and self._dropped:
            self._from_client.take()
            return HOLD_MESSAGE
        return None

    def passed(self, data: bytes, *, binary: bool) -> bool:
        """Count the parts of the server's messages: ours may only be between two of them."""
        if self._to_client.part is Part.HEADER and not binary:
            self._to_client.take(_buffers(parse(data)))
        else:
            if self._to_client.part is Part.CONTENT:
                self._inputs.learn(data)
            self._to_client.take()
        return self._to_client.part is Part.HEADER

    def _header(self, body: bytes) -> Inspected:
        self._held, self._value, self._kind = [], None, ""
        self._faulty = self._dropped = False
        value = parse(body)
        if not isinstance(value, dict) or not _is_word(value.get("msgid")) or not _is_word(value.get("msgtype")):
            return self.unreadable(value.value if type(value) is Fault else "not_a_header")
        if type(value.get("num_buffers", 0)) is not int or not 0 <= value.get("num_buffers", 0) <= MAX_BUFFERS:
            return self.unreadable("not_a_header")
        self._kind = value["msgtype"]
        self._held.append(SocketMessage(body))
        self._from_client.take(_buffers(value))
        return HOLD_MESSAGE

    def _content(self, body: bytes) -> Inspected:
        if self._faulty:
            self._value = None
            return self.refused(Code.MESSAGE_INVALID, {"reason": "metadata"}, Event.MESSAGE_UNREADABLE)
        found = self.json("", body)
        if isinstance(found, RefuseMessage):
            return found
        parts = found.messages if isinstance(found, RewriteMessage) else (SocketMessage(body),)
        return RewriteMessage((*self._held, *parts), found.findings, found.texts, found.characters, found.counts)

    def _buffer(self, *, fine: bool) -> Inspected:
        if self._dropped:
            return HOLD_MESSAGE
        return KEEP_MESSAGE if fine else self.unreadable("buffer")

    # --- what differs from other sockets --------------------------------------------------------

    def chosen(self, value: Any, texts: Texts) -> Texts:
        """Return the texts with the contents of text files in place of their data, and without other files."""
        self._files = bokeh_files.places(value)
        chosen, self._letters, self.unread = bokeh_files.opened(value, texts, self._files, self._inputs)
        return chosen

    def written(self, changes: Mapping[Location, str]) -> Mapping[Location, str]:
        """Return the contents of files as data again."""
        return {
            where: bokeh_files.data_of(text) if where[:2] in self._files else text for where, text in changes.items()
        }

    def length(self, value: Any, texts: Texts) -> int:
        """Return the length of the longest text that is sent off, files of text included.

        What is typed comes again when it is sent.
        """
        sent = [max(len(text), self._letters.get(where, 0)) for where, text in texts if _is_sent(value, where)]
        return max(sent, default=0)

    def counts(self, value: Any, texts: Texts) -> bool:
        """Return whether a text is sent off."""
        return any(_is_sent(value, where) for where, _ in texts)

    def instead(self) -> tuple[SocketMessage, ...]:
        """Return the message without its events; the server waits for the content of its header."""
        if len(self._held) == 2 and self._kind == "PATCH-DOC":
            return (*self._held, NO_EVENTS)
        self._dropped = True
        return ()

    def replies(self, code: Code) -> tuple[SocketMessage, ...]:
        """Return a change that adds a note to the page, for ten seconds."""
        attributes = {
            "text": code.sentence,
            "render_as_text": True,
            "styles": {"type": "map", "entries": NOTE_STYLES},
            "stylesheets": [NOTE_FADES],
        }
        note = {"type": "object", "name": "Div", "id": self.fresh_id(), "attributes": attributes}
        header = {"msgid": self.fresh_id(), "msgtype": "PATCH-DOC"}
        return (*message(header), *message({}), *message({"events": [{"kind": "RootAdded", "model": note}]}))


def _is_word(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= 128
        and value.isascii()
        and value.isprintable()
        and "<" not in value
    )


def _buffers(header: Any) -> int:
    number = header.get("num_buffers", 0) if isinstance(header, dict) else 0
    return min(number, MAX_BUFFERS) if isinstance(number, int) and number > 0 else 0


def _event(value: Any, where: tuple[object, ...]) -> dict[str, Any]:
    """Return the event that a text is in; an empty one if it is in none."""
    events = value.get("events") if isinstance(value, dict) else None
    if isinstance(events, list) and len(where) > 1 and isinstance(where[1], int) and where[1] < len(events):
        event = events[where[1]]
        return event if isinstance(event, dict) else {}
    return {}


def _is_sent(value: Any, where: tuple[object, ...]) -> bool:
    """Return whether a text is sent off: a message, or the value of a box; not what is being typed."""
    event = _event(value, where)
    return event.get("kind") == "MessageSent" or event.get("attr") == "value" or not event
