"""Counts by names that clients choose: the first names each, all later ones together."""

from __future__ import annotations

from typing import Final

MAX_NAMES: Final = 64
LONGEST: Final = 64
OTHERS: Final = "(others)"


class BoundedCounts:
    """Counts of at most `most` names of at most `LONGEST` characters; what has no place counts as `OTHERS`."""

    __slots__ = ("_counts", "_most")

    def __init__(self, most: int = MAX_NAMES) -> None:
        self._most = most
        self._counts: dict[str, int] = {}

    def count(self, name: str) -> bool:
        """Count one; return whether this name was counted for the first time, under itself."""
        counts = self._counts
        known = name in counts
        if not known and (len(counts) >= self._most or len(name) > LONGEST):
            counts[OTHERS] = counts.get(OTHERS, 0) + 1
            return False
        counts[name] = counts.get(name, 0) + 1
        return not known

    def most_common(self) -> dict[str, int]:
        """Return the counts, the largest first."""
        return dict(sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0])))
