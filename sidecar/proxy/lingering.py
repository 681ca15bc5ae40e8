"""Bounds of connections that are read on after their answer, so that a client that still sends can read it."""

from __future__ import annotations

from typing import Final

SILENCE: Final = 2.0
"""Seconds without a byte after which a client is taken to have stopped."""
LONGEST: Final = 30.0
"""Seconds in all (as nginx's lingering_time) for a client whose body was still to come."""
SHORT: Final = 1.0
"""Seconds in all for any other."""
MOST_BYTES: Final = 256 * 1024 * 1024
SHORT_BYTES: Final = 1024 * 1024


class Lingering:
    """Counts them, bounded for each client and in all; one beyond a bound is closed at once."""

    def __init__(self, most: int = 256, per_client: int = 8) -> None:
        self._most = most
        self._per_client = per_client
        self._clients: dict[str, int] = {}
        self._all = 0

    def begin(self, client: str) -> bool:
        """Take a place; False when there is none."""
        of_client = self._clients.get(client, 0)
        if self._all >= self._most or of_client >= self._per_client:
            return False
        self._clients[client] = of_client + 1
        self._all += 1
        return True

    def end(self, client: str) -> None:
        """Give the place back."""
        self._all -= 1
        left = self._clients[client] - 1
        if left:
            self._clients[client] = left
        else:
            del self._clients[client]
