"""Messages of Streamlit: one BackMsg a binary message, in protocol buffers.

https://github.com/streamlit/streamlit/blob/develop/proto/streamlit/proto/BackMsg.proto
"""

from __future__ import annotations

from typing import Any, Final

from sidecar.decision import Finding
from sidecar.json_path import EMBEDDED
from sidecar.messages import protobuf
from sidecar.messages.protobuf import Malformed, Text
from sidecar.messages.sockets.inspector import SocketInspector
from sidecar.messages.sockets.results import (
    KEEP_MESSAGE,
    Inspected,
    KeepMessage,
    RewriteMessage,
    SocketMessage,
)
from sidecar.messages.sockets.rules import Refused
from sidecar.messages.splice import splice
from sidecar.messages.text_finder import Texts, embedded_texts
from sidecar.vocabulary import Code, Event

STATE: Final = (11, 2, 1)  # rerun_script.widget_states.widgets
CHAT: Final = (*STATE, 15, 1)  # chat_input_value.data
TRIGGER: Final = (*STATE, 14, 1)  # string_trigger_value.data: the same of older versions
STRING: Final = (*STATE, 6)  # string_value: text inputs
STRINGS: Final = (*STATE, 9, 1)  # string_array_value.data
JSON: Final = (*STATE, 10)  # json_value: custom components, edited tables
JSON_TRIGGER: Final = (*STATE, 16)
FILES: Final = ((*STATE, 13, 2, 2), (*STATE, 15, 2, 2, 2), (*STATE, 15, 3, 2))  # names of uploaded files
DATA: Final = frozenset({(*STATE, 11), (*STATE, 12)})  # arrow_value, bytes_value: of custom components
TEXTS: Final = frozenset({CHAT, TRIGGER, STRING, STRINGS, JSON, JSON_TRIGGER, *FILES})
SENT: Final = frozenset({CHAT, TRIGGER, JSON_TRIGGER})
"""Texts that are sent once; the others are the state of the page, sent again with each of its messages."""
MEASURED: Final = frozenset({CHAT, TRIGGER, STRING})

KINDS: Final = frozenset({5, 6, 7, 11, 12, 14, 15, 16, 17, 19})
"""What a BackMsg can be: fields of its `type`."""


class StreamlitInspector(SocketInspector):
    """Streamlit's socket."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seen = 0  # the last contents of the text inputs, as a hash

    def text(self, text: str) -> Inspected:  # noqa: ARG002
        """Refuse: pages send binary messages only."""
        return self.unreadable("not_a_packet")

    def binary(self, data: bytes) -> Inspected:
        """Decide about one BackMsg."""
        try:
            kinds = {field.number for field in protobuf.fields(data, 0, len(data))}
            found = protobuf.texts(data, TEXTS)
            unread = protobuf.sizes(data, DATA)
        except Malformed:
            return self.unreadable("not_protobuf")
        if not kinds & KINDS:
            return self.unreadable("unknown_message")
        return self._judged(data, found, sum(unread))

    def _judged(self, data: bytes, found: list[Text], unread: int) -> Inspected:
        texts = located(found)
        if texts is None:
            return self.unreadable("json")
        length = max((len(text.text) for text in found if text.path in MEASURED), default=0)
        judged = self.rules.judge(None, texts, length)
        if isinstance(judged, Refused):
            return self.refused(judged.code, judged.detail)
        counts = self._counts(found)
        changes, done = judged
        characters = sum(len(text) for _, text in texts)
        findings = (Finding(Event.MESSAGE_UNREADABLE, {"reason": "binary", "bytes": unread}),) if unread else ()
        if not done:
            return KeepMessage(findings, len(texts), characters, counts) if texts or findings else KEEP_MESSAGE
        changed = protobuf.put_back(data, found, whole(found, changes))
        finding = Finding(Event.MESSAGE_SANITIZED, done.detail())
        message = SocketMessage(changed, binary=True)
        return RewriteMessage((message,), (finding, *findings), len(texts), characters, counts)

    def _counts(self, found: list[Text]) -> bool:
        """Return whether there is a new text: a chat message, or a changed text input."""
        state = tuple(text.text for text in found if text.path in (STRING, STRINGS, JSON) and text.text)
        before, self._seen = self._seen, hash(state)
        return any(text.path in SENT and text.text for text in found) or (bool(state) and self._seen != before)

    def replies(self, code: Code) -> tuple[SocketMessage, ...]:
        """Return a toast: a ForwardMsg whose delta is a new element with a body, an icon and a duration."""
        toast = field(1, code.sentence.encode()) + field(2, "🚫".encode()) + b"\x18\x0a"
        delta = field(5, field(3, field(50, toast)))
        metadata = field(2, field(2, b"\x02\x00"))  # of the delta: its path, in the container for events
        return (SocketMessage(metadata + delta, binary=True),)


def field(number: int, value: bytes) -> bytes:
    """Return a length-delimited field."""
    return protobuf.number(number << 3 | protobuf.LENGTH) + protobuf.number(len(value)) + value


def located(found: list[Text]) -> Texts | None:
    """Return the texts under their number; of JSON, the strings in it. None: JSON that readers take differently."""
    texts: Texts = []
    for number, text in enumerate(found):
        if text.path in (JSON, JSON_TRIGGER):
            inner = embedded_texts((number,), text.text)
            if inner is None:
                return None
            texts += inner
        else:
            texts.append(((number,), text.text))
    return texts


def whole(found: list[Text], changes: Any) -> dict[int, str]:
    """Return the whole new texts by their number."""
    new: dict[int, str] = {}
    inside: dict[int, dict[Any, str]] = {}
    for (number, *rest), text in changes.items():
        if rest and rest[0] is EMBEDDED:
            inside.setdefault(number, {})[tuple(rest[1:])] = text
        else:
            new[number] = text
    for number, each in inside.items():
        new[number] = splice(found[number].text.encode(), each).decode()
    return new
