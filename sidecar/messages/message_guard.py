"""The guard that looks into messages: valid, short enough, harmless, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.decision import KEEP, Finding, Inspection, Keep, Refuse, Rewrite
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.json_path import Path, PathError, compile_path
from sidecar.messages.field_names import FormNames
from sidecar.messages.message_body import MAX_OPENED, BodyProblem, Message, MessageReader
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.messages.protocols.definition import Protocol
from sidecar.messages.sanitize import Markup, sanitize_texts
from sidecar.messages.text_finder import finder
from sidecar.vocabulary import Code, Event

DROP: Final = (b"content-encoding",)
MODES: Final = ("refuse", "pass")


@dataclass(frozen=True)
class MessageGuard:
    """Inspect the bodies of one route. `max_chars` None: any length; `roles` empty: all are sanitized."""

    reader: MessageReader
    max_chars: int | None
    markup: Markup
    pass_uninspectable: bool = False
    roles: frozenset[str] = frozenset()
    name: str = "message"

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Validate, measure and sanitize one message; return Keep, Rewrite with the new body, or Refuse."""
        message = self.reader.read(exchange, body)
        if message is None:
            return KEEP
        if type(message) is BodyProblem:
            if message.uninspectable and self.pass_uninspectable:
                return Keep((Finding(Event.MESSAGE_UNREADABLE, {"reason": message.reason}),))
            return Refuse(message.code, {"reason": message.reason}, event=message.event)
        assert isinstance(message, Message)
        exchange.texts = len(message.texts)
        exchange.characters = sum([len(text) for _, text in message.texts])
        exchange.says_new = message.says_new()
        if self.max_chars is not None:
            length = message.length()
            if length > self.max_chars:
                return Refuse(Code.MESSAGE_TOO_LONG, {"characters": length, "limit": self.max_chars})
        changes = sanitize_texts(message.of_roles(self.roles) if self.roles else message.texts, self.markup)
        if changes is None:
            return Refuse(Code.MESSAGE_INVALID, {"reason": "markup"})
        texts, counts = changes
        drop = DROP if message.opened else ()
        if not counts:
            return Rewrite(message.body, drop=drop) if message.opened else KEEP
        changed = message.with_texts(texts)
        if changed is None:
            return Refuse(Code.MESSAGE_INVALID, {"reason": "bad_multipart"})
        findings = (Finding(Event.MESSAGE_SANITIZED, counts.detail()),)
        return Rewrite(changed, findings, counts.header(), drop)


def build_message_guard(
    *,
    protocol: str,
    fields: Sequence[str],
    max_chars: int | None,
    markup: str,
    on_uninspectable: str = "refuse",
    roles: Sequence[str] = (),
    problems: Problems,
    max_opened: int = MAX_OPENED,
) -> MessageGuard | None:
    """Build the guard of a route from the policy's values, or add every problem and return None.

    `problems` is at the route's `message`; `protocol` is beside it.
    """
    known = BY_NAME.get(protocol)
    if known is None:
        problems.at("protocol").add(f"{protocol!r} is not a known protocol", f"write one of {', '.join(BY_NAME)}")
    if markup not in set(Markup):
        problems.at("markup").add(f"{markup!r} is not known", f"write one of {', '.join(Markup)}")
    if on_uninspectable not in MODES:
        problems.at("on_uninspectable").add(f"{on_uninspectable!r} is not known", "write `refuse` or `pass`")
    if max_chars is not None and max_chars < 1:
        problems.at("max_chars").add("must be at least 1", "write `null` for no limit")
    compiled = compile_fields(fields, problems.at("fields"))
    if known is None or compiled is None or problems.found:
        return None
    reader = build_reader(known, compiled, max_opened)
    lower = frozenset(role.lower() for role in roles)
    return MessageGuard(reader, max_chars, Markup(markup), on_uninspectable == "pass", lower)


def build_reader(protocol: Protocol, fields: Sequence[Path], max_opened: int = MAX_OPENED) -> MessageReader:
    """Build the reader that the guards of a route share."""
    places = finder(protocol, fields)
    names = frozenset(place.path.name for place in places.places if place.path.name is not None)
    forms = names if fields or protocol.name == "plain" or protocol.forms else ()
    return MessageReader(protocol, places, FormNames(forms), max_opened)


def compile_fields(fields: Sequence[str], problems: Problems) -> list[Path] | None:
    """Compile the `fields` of a policy; report each path that is malformed, and return None if any is."""
    paths: list[Path] = []
    for index, text in enumerate(fields):
        try:
            paths.append(compile_path(text))
        except PathError as error:
            problems.at(f"[{index}]").add(str(error), "write a path like `$.message` or `$.messages[*].content`")
    return paths if len(paths) == len(fields) else None
