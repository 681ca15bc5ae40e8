"""Finds known secrets in bodies that are no text: pictures, fonts, archives, programs.

A reader of text undoes escapes and overlooks what it does not show; a reader of such a body does neither.
So secrets are searched as they are and in the forms that programs store them in, which costs one pass of
an automaton of their beginnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.redaction.scanner import Hit, Scanner
from sidecar.redaction.stored_forms import StoredForms

CONTROLS: Final = bytes((*range(9), 11, 12, *range(14, 27), *range(28, 32), 127))
"""Bytes that texts do not hold."""
SAMPLE: Final = 1024
SHARE: Final = 32
"""A text has less than one of them in so many bytes."""


def is_binary(body: bytes) -> bool:
    """Return whether a part of a body holds more control characters than any text, by its beginning."""
    body = body[:SAMPLE]
    return (len(body) - len(body.translate(None, CONTROLS))) * SHARE > len(body)


class BinaryScanner:
    """Scans what is no text for the forms of secrets, and what is text with the scanner of texts."""

    framing = True
    __slots__ = ("_forms", "_text", "reach")

    def __init__(self, text: Scanner, forms: Sequence[StoredForms]) -> None:
        self._text = text
        self._forms = forms
        self.reach = max(text.reach, *(each.reach for each in forms), 0)

    @property
    def known(self) -> Scanner:
        """All of it looks for stored secrets."""
        return self

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return the hits in order, and where the text turns live: one of the forms may begin there."""
        if not is_binary(text):
            return self._text.scan(text, before, final)
        hits: list[Hit] = []
        live = len(text)
        for forms in self._forms:
            found, begins = forms.find(text, final)
            hits += found
            live = min(live, begins)
        if len(self._forms) > 1:
            hits.sort()
        return [hit for hit in hits if hit.start < live], live
