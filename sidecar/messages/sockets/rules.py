"""What the messages of one route's sockets are held to, whatever way they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.decision import Detail
from sidecar.json_path import Location
from sidecar.messages.content_filter import Patterns
from sidecar.messages.protocols.definition import Protocol
from sidecar.messages.sanitize import Counts, Markup, sanitize_texts
from sidecar.messages.text_finder import TextFinder, Texts, of_roles
from sidecar.vocabulary import Code


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the texts of a message do not pass."""

    code: Code
    detail: Detail


@dataclass(frozen=True, slots=True)
class SocketRules:
    """The rules of one route. `max_chars` None: any length; `roles` empty: all are sanitized."""

    protocol: Protocol
    finder: TextFinder
    max_chars: int | None
    markup: Markup
    pass_uninspectable: bool = False
    patterns: Patterns | None = None
    roles: frozenset[str] = frozenset()

    def judge(self, value: Any, texts: Texts, length: int) -> tuple[Mapping[Location, str], Counts] | Refused:
        """Return the texts that change and the counts, or why the message is refused. `length` is in characters."""
        if self.max_chars is not None and length > self.max_chars:
            return Refused(Code.MESSAGE_TOO_LONG, {"characters": length, "limit": self.max_chars})
        if self.patterns is not None:
            name = self.patterns.first(texts)
            if name is not None:
                return Refused(Code.CONTENT_BLOCKED, {"pattern": name})
        chosen = of_roles(self.protocol, value, texts, self.roles) if self.roles else texts
        cleaned = sanitize_texts(chosen, self.markup)
        return Refused(Code.MESSAGE_INVALID, {"reason": "markup"}) if cleaned is None else cleaned
