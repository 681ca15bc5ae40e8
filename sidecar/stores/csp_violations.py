"""What browsers reported about the Content-Security-Policy: counted by directive and by what was blocked. Bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

PAIRS: Final = 256
"""Pairs of directive and blocked source that are counted apart; those beyond are counted under OTHER."""

LOG_AGAIN: Final = 600.0
"""Seconds before the same pair is worth another log line."""

OTHER: Final = "other"


class Violation(NamedTuple):
    """What one report says: `script-src-elem`, and `inline`, `eval`, `data`, `blob` or a host."""

    directive: str
    blocked: str


@dataclass(slots=True)
class _Pair:
    count: int = 0
    quiet_until: float = 0.0


class CspViolations:
    """Counts reports and violations. Names come from closed sets or are bounded in number by PAIRS."""

    def __init__(self, most: int = PAIRS) -> None:
        self.reports = 0
        self.directives: dict[str, int] = {}
        self._most = most
        self._pairs: dict[Violation, _Pair] = {}

    def note(self, violation: Violation, now: float) -> int:
        """Count one violation; return how many there were of its kind if that is worth a log line, else 0."""
        self.directives[violation.directive] = self.directives.get(violation.directive, 0) + 1
        pair = self._pairs.get(violation)
        if pair is None:
            if len(self._pairs) >= self._most:
                violation = Violation(violation.directive, OTHER)
            pair = self._pairs.setdefault(violation, _Pair())
        pair.count += 1
        if now < pair.quiet_until:
            return 0
        pair.quiet_until = now + LOG_AGAIN
        return pair.count

    def pairs(self) -> list[tuple[Violation, int]]:
        """Return what was reported, most frequent first."""
        found = [(violation, pair.count) for violation, pair in self._pairs.items()]
        return sorted(found, key=lambda entry: -entry[1])
