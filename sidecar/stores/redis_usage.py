"""What is known of the usage of organizations, kept in Redis so that a restart does not forget it.

PREFIX:usage:ORGANIZATION   a packed history; expires by itself
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.stores.redis_connection import RedisClient

KEPT: Final = 30 * 86_400
"""Seconds for which the history of an organization without requests is kept."""
SAVED_AT_ONCE: Final = 20


class RedisUsage:
    """Loads and saves histories; every method raises StoreUnavailable within one short timeout.

    Replicas have about the same share of the traffic: the one that saves last speaks for all.
    """

    def __init__(self, wire: RedisClient, prefix: str = "sidecar") -> None:
        self._wire = wire
        self._prefix = f"{prefix}:usage:"

    async def load(self, organization: str) -> bytes | None:
        """Return the history of an organization; None: there is none."""
        (found,) = await self._wire.submit([("GET", self._prefix + organization)])
        return bytes(found) if found is not None else None

    async def save(self, histories: Mapping[str, bytes]) -> None:
        """Keep histories by organization."""
        names = list(histories)
        for start in range(0, len(names), SAVED_AT_ONCE):
            some = names[start : start + SAVED_AT_ONCE]
            await self._wire.submit([("SET", self._prefix + name, histories[name], "EX", KEPT) for name in some])

    async def forget(self, organization: str) -> None:
        """Delete the history of an organization."""
        await self._wire.submit([("DEL", self._prefix + organization)])
