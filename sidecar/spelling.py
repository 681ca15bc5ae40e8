"""Finds what was probably meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 64
"""Characters of a word that are compared: comparing takes the square of them."""


def nearest(word: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """Return the known word that is most like this one, None if none is; `least`: 1.0 is the same."""
    from difflib import get_close_matches  # a policy without a mistake does not need it

    found = get_close_matches(word[:LONGEST], list(known), 1, least)
    return found[0] if found else None
