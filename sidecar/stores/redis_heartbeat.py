"""The heartbeat: whether Redis answers, whether it still has our data, and which replicas live."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from sidecar.stores.redis_connection import RedisClient, Script

SILENCE: Final = 10
"""Seconds after which a silent replica counts as gone."""


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The result of a heartbeat. `lost`: the server no longer has our data; `reset`: a limit was reset."""

    replicas: int
    lost: bool
    reset: bool


class Heartbeat:
    """Beat for one replica. The beat writes: a full or read-only server does not count as alive."""

    def __init__(self, wire: RedisClient, replica: str, prefix: str = "sidecar") -> None:
        self._wire = wire
        self._replica = replica
        self._script = Script("heartbeat.lua")
        # One hash tag: a Cluster wants the keys of a script in one slot.
        self._keys = [f"{{{prefix}}}:mark", f"{{{prefix}}}:replicas", f"{{{prefix}}}:resets"]
        self._mark = b""
        self._resets = b""

    async def beat(self) -> HeartbeatReply:
        """Beat once; StoreUnavailable when that was not possible."""
        ((mark, replicas, resets),) = await self._wire.submit(
            [self._script.call(self._keys, secrets.token_hex(16), self._replica, SILENCE)]
        )
        # A mark that was not seen before is new to this replica; at the start it has sent nothing yet.
        lost = bool(self._mark) and mark != self._mark
        reset = resets != self._resets
        self._mark, self._resets = mark, resets
        return HeartbeatReply(max(1, replicas), lost, reset)

    async def leave(self) -> None:
        """Leave the list of live replicas."""
        await self._wire.submit([("ZREM", self._keys[1], self._replica)])
