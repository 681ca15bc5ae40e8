"""A cache that is bounded in bytes, because its keys are what clients send."""

from __future__ import annotations

from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRY: Final = 120
"""Bytes that an entry takes besides its key: a slot of the table, and the heads of its objects."""


class BoundedCache(dict[K, V]):
    """A dict for look-ups; `remember` is its only writer.

    `most_bytes` bounds what it holds; a full cache is emptied, never searched. An entry above a 64th of
    the bound is not kept: one client must not empty the cache for everyone with a few long keys.
    """

    __slots__ = ("_held", "_most")

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most = most_bytes
        self._held = 0

    def remember(self, key: K, value: V, size: int) -> V:
        """Keep a value of `size` bytes, key included; return it."""
        size += ENTRY
        if size * 64 > self._most:
            return value
        if self._held + size > self._most:
            self.clear()
            self._held = 0
        self._held += size
        self[key] = value
        return value
