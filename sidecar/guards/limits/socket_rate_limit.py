"""Limits of a route's WebSockets: each message that carries a text counts like a request."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.decision import Refuse
from sidecar.exchange import Exchange
from sidecar.guards.limits.rate_limit import RateLimitGuard
from sidecar.limit import LimitReport


@dataclass(frozen=True, slots=True)
class SocketRateLimit:
    """Asks the limits of one route about one message; `enforce` False: only says what it would have refused."""

    guard: RateLimitGuard
    enforce: bool

    async def take(self, exchange: Exchange, at: float, now: float) -> tuple[LimitReport, Refuse | None]:
        """Take one message; `at` is monotonic, `now` in epoch seconds. Waits for a store across the network only."""
        return await self.guard.take_message(exchange, at, now)
