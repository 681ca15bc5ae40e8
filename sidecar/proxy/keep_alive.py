"""How long an idle connection to a backend may be used again: what the policy, the backend and experience say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

USUAL: Final = 55.0
"""Seconds of rest after which no connection is used again; common backends close theirs after 60 or more …"""
FRESH: Final = 1.5
"""… but Node after 5 and gunicorn after 2: what must not be sent twice only takes connections this fresh."""
_SHORTEST: Final = 0.5
"""Seconds: no server's timeout is shorter; a connection closed sooner was closed for another reason (a restart)."""
_FORGOTTEN: Final = 60.0
"""Seconds in which what was learned from an early close doubles: a restart closes connections of any age."""
_TIMEOUT = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,6})", re.IGNORECASE)


def promised(keep_alive: bytes | None) -> float | None:
    """Return the seconds that a response's `Keep-Alive` promises, less a margin for the way; None for no promise."""
    if keep_alive is None or len(keep_alive) > 64:
        return None
    return _promised(keep_alive)


@lru_cache(maxsize=64)  # a backend says the same with every response
def _promised(keep_alive: bytes) -> float | None:
    match = _TIMEOUT.search(keep_alive)
    if match is None:
        return None
    seconds = int(match[1])
    return max(0.0, seconds - min(1.0, max(0.5, seconds * 0.2)))


class RestLimit:
    """How long connections of one pool may rest. `configured` is `timeouts.keep_alive`, None if it is not written."""

    def __init__(self, configured: float | None) -> None:
        self._configured = configured
        self._longest = USUAL if configured is None else configured
        self._learned = 0.0  # 0: nothing
        self._learned_at = 0.0

    @property
    def longest(self) -> float:
        """The rest after which no connection is used again, whatever it promised."""
        return self._longest

    def of(self, promise: float | None, now: float, *, replayable: bool) -> float:
        """Return the rest in seconds after which a connection is too old for a request.

        What must not be sent twice rests longer only where the policy or the backend states a time.
        """
        limit = self._longest if promise is None else min(self._longest, promise)
        if not replayable and promise is None and self._configured is None:
            limit = min(limit, FRESH)
        if self._learned:
            limit = min(limit, self._learned * 2 ** ((now - self._learned_at) / _FORGOTTEN))
        return limit

    def closed_early(self, rest: float, now: float) -> None:
        """Learn from a connection that the backend closed after a rest: the next ones are used sooner, or not."""
        if rest < _SHORTEST:
            return
        known = self._learned * 2 ** ((now - self._learned_at) / _FORGOTTEN) if self._learned else self._longest
        found = rest * 0.8
        if found < known:
            self._learned, self._learned_at = found, now
