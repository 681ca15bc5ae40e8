"""The heartbeat: whether Redis answers, whether it still has our data, and which replicas live."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.stores.redis_connection import Command, RedisClient, Script

SILENCE: Final = 10
"""Seconds after which a silent replica counts as gone."""


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The result of a heartbeat.

    lost   the server no longer has our data
    reset  a limit was reset
    also   the replies to what was asked with it, in order
    """

    replicas: int
    lost: bool
    reset: bool
    also: list[Any]


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

    async def beat(self, questions: Sequence[Command] = ()) -> HeartbeatReply:
        """Beat once, and ask these questions in the same round trip; StoreUnavailable when that was not possible."""
        beat = self._script.call(self._keys, secrets.token_hex(16), self._replica, SILENCE)
        (mark, replicas, resets), *also = await self._wire.submit([beat, *questions])
        # A mark that was not seen before is new to this replica; at the start it has sent nothing yet.
        lost = bool(self._mark) and mark != self._mark
        reset = resets != self._resets
        self._mark, self._resets = mark, resets
        return HeartbeatReply(max(1, replicas), lost, reset, also)

    async def leave(self) -> None:
        """Leave the list of live replicas."""
        await self._wire.submit([("ZREM", self._keys[1], self._replica)])
