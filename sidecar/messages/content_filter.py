"""Refuse messages that match a pattern of the policy. Patterns run in linear time."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import re2

from sidecar.decision import KEEP, Inspection, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.messages.invisible import remove_invisible
from sidecar.messages.message_body import BodyProblem, MessageReader
from sidecar.messages.text_finder import Texts
from sidecar.vocabulary import Code

MAX_PATTERNS: Final = 500
MAX_PATTERN_CHARS: Final = 2000
MAX_MEMORY: Final = 32 << 20  # bytes, for the automata of all patterns together


@dataclass(frozen=True, slots=True)
class Patterns:
    """The patterns of a policy, joined into one automaton; `names` say in the log which one matched."""

    names: tuple[str, ...]
    joined: Any

    def match(self, text: str) -> str | None:
        """Return the name of the first pattern found in a text, as written or as it is read.

        A reader sees through hidden characters and other forms of letters (`ｆｏｏ`), so both are tried.
        """
        for form in forms(text):
            found: list[int] = self.joined.Match(form)
            if found:
                return self.names[min(found)]
        return None

    def first(self, texts: Texts) -> str | None:
        """Return the name of the first pattern found in any of the texts."""
        for _, text in texts:
            name = self.match(text)
            if name is not None:
                return name
        return None


def forms(text: str) -> tuple[str, ...]:
    """Return the spellings of a text that patterns are tried on: as written, and NFKC without invisible characters."""
    if text.isascii():
        return (text,)
    read = unicodedata.normalize("NFKC", remove_invisible(text)[0])
    return (text,) if read == text else (text, read)


@dataclass(frozen=True, slots=True)
class ContentFilterGuard:
    """Refuse a message when one of its texts matches."""

    reader: MessageReader
    patterns: Patterns
    pass_uninspectable: bool = False
    name: str = "content_filter"

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Refuse with 403 at the first pattern that matches; an unreadable body with its own code."""
        message = self.reader.read(exchange, body)
        if message is None:
            return KEEP
        if isinstance(message, BodyProblem):
            if message.uninspectable and self.pass_uninspectable:
                return KEEP
            return Refuse(message.code, {"reason": message.reason})
        name = self.patterns.first(message.texts)
        return KEEP if name is None else Refuse(Code.CONTENT_BLOCKED, {"pattern": name})


def compile_patterns(patterns: Mapping[str, str], problems: Problems) -> Patterns | None:
    """Compile name → RE2 pattern, or add every problem and return None."""
    if len(patterns) > MAX_PATTERNS:
        problems.add(f"has {len(patterns)} patterns", f"write at most {MAX_PATTERNS}")
        return None
    options = quiet()
    joined = re2.Set.SearchSet(options)
    before = len(problems.found)
    for name, pattern in patterns.items():
        place = problems.at(name)
        if not pattern or len(pattern) > MAX_PATTERN_CHARS:
            place.add("must have between 1 and 2000 characters")
            continue
        try:
            if re2.compile(pattern, options).search("") is not None:
                place.add("matches the empty text, so it would refuse every message")
            joined.Add(pattern)
        except re2.error as error:
            place.add(f"is no RE2 pattern: {reason(error)}", "see https://github.com/google/re2/wiki/Syntax")
    if len(problems.found) > before:
        return None
    try:
        joined.Compile()
    except re2.error:
        problems.add("need too much memory together", "write fewer or simpler patterns")
        return None
    return Patterns(tuple(patterns), joined)


def quiet() -> Any:
    """Return RE2 options with bounded memory and without lines on standard error."""
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    return options


def reason(error: Exception) -> str:
    """Return RE2's message about a pattern that does not compile."""
    said = error.args[0] if error.args else "does not compile"
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
