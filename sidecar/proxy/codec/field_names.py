"""Spellings of field names, and what they are in lower case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

_MOST: Final = 2048
_LONGEST: Final = 64


class FieldNames:
    """Maps names as they were spelled to their lower case.

    `known` is a plain dict, whose look-ups the interpreter does without a call; at most 2048 spellings
    of 64 bytes are remembered.
    """

    def __init__(self, check: Callable[[bytes], object] | None = None) -> None:
        self.known: dict[bytes, bytes] = {}
        self._check = check  # raises for a name that is none

    def index(self, fields: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """Return lower-case name → value; of a repeated name, the last value."""
        known = self.known
        try:
            return {known[name]: value for name, value in fields}
        except KeyError:
            return {known.get(name) or self.lower(name): value for name, value in fields}

    def lower(self, name: bytes) -> bytes:
        """Return a name's lower case."""
        found = self.known.get(name)
        if found is not None:
            return found
        if self._check is not None:
            self._check(name)
        lower = name.lower()
        if len(name) <= _LONGEST:
            if len(self.known) >= _MOST:
                self.known.clear()
            self.known[name] = lower
        return lower
