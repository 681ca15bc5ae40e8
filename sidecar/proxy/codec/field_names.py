"""Spellings of field names, and what they are in lower case."""

from __future__ import annotations

from typing import Final

_MOST: Final = 2048
_LONGEST: Final = 64


class FieldNames(dict[bytes, bytes]):
    """Maps a name as it was spelled to its lower case; at most 2048 spellings of 64 bytes are remembered."""

    __slots__ = ()

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        if len(name) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[name] = lower
        return lower
