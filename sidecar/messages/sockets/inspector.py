"""The inspector of one socket: JSON messages. Other ways of writing them build on it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sidecar.decision import Detail, Finding
from sidecar.json_path import Location
from sidecar.messages import refusals
from sidecar.messages.message_body import holds_message, may_be_textless
from sidecar.messages.odd_values import odd
from sidecar.messages.protocols.catalogue import AUTO
from sidecar.messages.protocols.model_apis import OPENAI_REALTIME
from sidecar.messages.protocols.pages import PLAIN
from sidecar.messages.protocols.recognition import recognise
from sidecar.messages.socketio import KEEPALIVES
from sidecar.messages.sockets.results import (
    KEEP_MESSAGE,
    Inspected,
    KeepMessage,
    RefuseMessage,
    RewriteMessage,
    SocketMessage,
)
from sidecar.messages.sockets.rules import Refused, SocketRules
from sidecar.messages.splice import splice
from sidecar.messages.strict_json import Fault, parse
from sidecar.messages.text_finder import Texts, counted
from sidecar.vocabulary import Code, Event

SIGNAL_KEYS: Final = frozenset({"type", "event", "action", "op", "kind", "method", "cmd"})
SIGNAL: Final = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
MAX_SIGNAL: Final = 8


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """What an inspector knows of its socket.

    path        of the handshake, without its query
    request_id  of the handshake; is in the replies
    now         seconds since the epoch
    """

    path: str
    request_id: str
    now: Callable[[], float]


class SocketInspector:
    """Looks at the messages that one client sends, in order. One instance a socket; no I/O."""

    def __init__(self, rules: SocketRules, facts: SocketFacts) -> None:
        self.rules = rules
        self.facts = facts
        self._value: Any = None  # of the message that was looked at last
        self._replied = 0
        self.unread = 0  # files in it that nothing looked into

    def text(self, text: str) -> Inspected:
        """Decide about one complete text message."""
        if text in KEEPALIVES:
            return KEEP_MESSAGE
        return self.json("", text.encode("utf-8", "surrogatepass"))

    def binary(self, data: bytes) -> Inspected:
        """Decide about one complete binary message: many servers read JSON from it as they do from a text."""
        encoding = json.detect_encoding(data)  # as Python's reader guesses it, UTF-16 and UTF-32 included
        text = data.decode(encoding, "replace")
        if text.lstrip(" \t\r\n\ufeff")[:1] not in ("{", "[", '"'):
            return self.unreadable("binary")
        try:
            found = self.text(data.decode())
        except UnicodeDecodeError:
            return self.unreadable(Fault.NOT_UTF8.value)
        if isinstance(found, RewriteMessage):
            changed = tuple(SocketMessage(each.data, binary=True) for each in found.messages)
            return RewriteMessage(changed, found.findings, found.texts, found.characters, found.counts)
        return found

    def too_big(self, head: bytes, size: int, *, binary: bool) -> Inspected | None:  # noqa: ARG002
        """Refuse a message that was not kept because of its size in bytes; `head` is its beginning.

        None: the socket cannot go on without the message, and is closed.
        """
        self._value = self.begun(head)
        return self.refused(Code.MESSAGE_TOO_LONG, {"bytes": size})

    def begun(self, head: bytes) -> Any:  # noqa: ARG002
        """Return what the beginning of a message says of whom to answer."""
        return None

    def passed(self, data: bytes, *, binary: bool) -> bool:  # noqa: ARG002 - only some protocols have to look
        """Note a message that went to the client; say whether a reply of ours may follow it."""
        return True

    def refused(self, code: Code, detail: Detail, event: Event | None = None) -> RefuseMessage:
        """Refuse the message that was looked at last."""
        return RefuseMessage(code, detail, event, self.replies(code), self.instead())

    def unreadable(self, reason: str) -> Inspected:
        """Refuse a message that cannot be inspected, or let it pass where the policy allows it."""
        detail = {"reason": reason}
        if self.rules.pass_uninspectable:
            return KeepMessage((Finding(Event.MESSAGE_UNREADABLE, detail),))
        return self.refused(Code.MESSAGE_INVALID, detail, Event.MESSAGE_UNREADABLE)

    def json(self, prefix: str, body: bytes) -> Inspected:
        """Decide about a message of JSON behind a prefix that stays as it is."""
        self._value = value = parse(body)
        if type(value) is Fault:
            self._value = None
            return self.unreadable(value.value)
        fault = odd(self.rules.protocol, value, body)
        if fault:
            return self.unreadable(fault)
        texts = self.rules.finder.find(value)
        if texts is None or self.rules.finder.disguised(value):
            return self.refused(Code.MESSAGE_INVALID, {"reason": "no_text"})
        texts = self.chosen(value, texts)
        if not holds_message(self.rules.protocol, texts) and not self.is_textless(value):
            return self.unreadable("no_text")
        judged = self.rules.judge(value, texts, self.length(value, texts))
        if isinstance(judged, Refused):
            return self.refused(judged.code, judged.detail)
        changes, done = judged
        characters = sum(len(text) for _, text in texts)
        counts = self.counts(value, texts)
        findings = (Finding(Event.MESSAGE_UNREADABLE, {"reason": "file", "files": self.unread}),) if self.unread else ()
        if not done:
            return (
                KeepMessage(findings, len(texts), characters, counts) if texts or counts or findings else KEEP_MESSAGE
            )
        findings = (Finding(Event.MESSAGE_SANITIZED, done.detail()), *findings)
        message = SocketMessage(prefix.encode() + splice(body, self.written(changes)))
        return RewriteMessage((message,), findings, len(texts), characters, counts)

    # --- what differs between protocols ---------------------------------------------------------

    def chosen(self, value: Any, texts: Texts) -> Texts:  # noqa: ARG002
        """Return the texts that are looked at, of those that are at the protocol's places; count unread files."""
        return texts

    def written(self, changes: Mapping[Location, str]) -> Mapping[Location, str]:
        """Return what is written at the places of changed texts."""
        return changes

    def is_textless(self, value: Any) -> bool:
        """Return whether a message in which no text was found is one of those that have none."""
        protocol = self.rules.protocol
        if protocol in (PLAIN, AUTO) and is_signal(value):
            return True
        return may_be_textless(protocol, self.facts.path, value)

    def length(self, value: Any, texts: Texts) -> int:
        """Return the length in characters that the limit applies to."""
        protocol = self.rules.protocol
        if protocol is AUTO:
            protocol = recognise(self.facts.path, value) or AUTO
        return counted(protocol, value, texts)

    def counts(self, value: Any, texts: Texts) -> bool:  # noqa: ARG002
        """Return whether the message carries a new text, so that limits count it."""
        return bool(texts)

    def replies(self, code: Code) -> tuple[SocketMessage, ...]:
        """Return what tells the client of a refusal."""
        request_id = self.facts.request_id
        if self.rules.protocol is OPENAI_REALTIME:
            said = self._value.get("event_id") if isinstance(self._value, dict) else None
            error = {"type": "invalid_request_error", "code": code.name, "message": code.sentence, "param": None}
            error["event_id"] = said if isinstance(said, str) else None
            return message({"type": "error", "event_id": self.fresh_id(), "error": error})
        return message(refusals.plain(code, request_id))

    def instead(self) -> tuple[SocketMessage, ...]:
        """Return what goes to the backend in place of a refused message."""
        return ()

    def fresh_id(self) -> str:
        """Return an id that no other reply of this socket has."""
        self._replied += 1
        return f"{self.facts.request_id}-{self._replied}"


def message(value: Any, prefix: str = "") -> tuple[SocketMessage, ...]:
    """Return one text message that holds a value as JSON."""
    return (SocketMessage(prefix.encode() + orjson.dumps(value)),)


def is_signal(value: Any) -> bool:
    """Return whether a message has no room for text: `{"type": "ping", "n": 5}`, `{"seen": true}`."""
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_SIGNAL:
        return False
    return all(_says_nothing(key, each) for key, each in value.items())


def _says_nothing(key: str, value: Any) -> bool:
    if isinstance(value, str):
        return key in SIGNAL_KEYS and SIGNAL.fullmatch(value) is not None
    return SIGNAL.fullmatch(key) is not None and (value is None or isinstance(value, bool | int | float))


def first(value: Any, at: int) -> Any:
    """Return an item of a list; None for anything else."""
    return value[at] if isinstance(value, Sequence) and not isinstance(value, str) and at < len(value) else None
