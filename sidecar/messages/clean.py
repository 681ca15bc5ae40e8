"""Sanitize all texts of one message together."""

from __future__ import annotations

from sidecar.messages.paths import Location
from sidecar.messages.sanitize import NONE, Counts, Markup, MarkupFound, sanitize
from sidecar.messages.texts import Texts, joined_openers


def clean(texts: Texts, mode: Markup) -> tuple[dict[Location, str], Counts] | None:
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
