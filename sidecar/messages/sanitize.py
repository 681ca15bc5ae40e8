"""Remove active markup from a client's text and keep the rest as it was typed. Pure functions.

For `escape` and `strip`: parsed as HTML the result holds text nodes only; doing it twice changes
nothing more; text without markup comes through byte for byte. Time is linear in the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.json_path import Location
from sidecar.messages import markup
from sidecar.messages.invisible import hides, remove_invisible
from sidecar.messages.links import defang_links
from sidecar.messages.text_finder import Texts, joined_openers


class Markup(StrEnum):
    """What to do about HTML in a message."""

    ESCAPE = "escape"
    STRIP = "strip"
    REJECT = "reject"
    KEEP = "keep"


@dataclass(frozen=True)
class Counts:
    """What was done to a text: tags escaped or removed, hidden characters removed, links defanged."""

    markup: int = 0
    invisible: int = 0
    link: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.markup + other.markup, self.invisible + other.invisible, self.link + other.link)

    def __bool__(self) -> bool:
        return bool(self.markup or self.invisible or self.link)

    def detail(self) -> dict[str, int]:
        """Return the counts that are not zero, by kind."""
        counts = {"markup": self.markup, "invisible": self.invisible, "link": self.link}
        return {kind: count for kind, count in counts.items() if count}

    def header(self) -> str:
        """Return them as a dictionary of RFC 9651 (`markup=2, link=1`), for `X-Sidecar-Sanitized`."""
        return ", ".join(f"{kind}={count}" for kind, count in self.detail().items())


NONE: Final = Counts()


class MarkupFound(Exception):
    """Raised by `sanitize` under `reject`."""


def sanitize(text: str, mode: Markup = Markup.ESCAPE) -> tuple[str, Counts]:
    """Return the sanitized text, and what was done to it.

    The order matters: hidden characters go first (they could be between `<` and a letter), then
    markup, links last (removing a tag could have joined a scheme). `strip` looks for hidden
    characters again, because what it removes changes their neighbours.
    """
    if "<" not in text and "]" not in text and not hides(text):
        return text, NONE
    text, invisible = remove_invisible(text)
    marked = linked = 0
    if mode is Markup.STRIP and markup.has_markup(text):
        text, marked = markup.strip(text)
        text, more = remove_invisible(text)
        text, joined = markup.escape(text)
        invisible, marked = invisible + more, marked + joined
    elif mode is Markup.ESCAPE:
        text, marked = markup.escape(text)
    elif mode is Markup.REJECT and markup.has_markup(text):
        raise MarkupFound
    if mode is not Markup.KEEP:
        text, linked = defang_links(text)
    return text, Counts(marked, invisible, linked) if marked or invisible or linked else NONE


def sanitize_texts(texts: Texts, mode: Markup) -> tuple[dict[Location, str], Counts] | None:
    """Sanitize every text; return those that changed and the counts, or None if `reject` rejects one."""
    changes: dict[Location, str] = {}
    counts = NONE
    try:
        for place, text in texts:
            harmless, done = sanitize(text, mode)
            if done is not NONE:
                changes[place] = harmless
                counts += done
    except MarkupFound:
        return None
    if len(texts) > 1 and mode is not Markup.KEEP:
        now = [(place, changes.get(place, text)) for place, text in texts]
        for index in joined_openers(now):
            if mode is Markup.REJECT:
                return None
            place, text = now[index]
            changes[place] = text[:-1] + "&lt;"
            counts += Counts(markup=1)
    return changes, counts
