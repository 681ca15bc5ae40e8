"""Limits of pages that send several requests with each message: only the one that carries a new text counts."""

from __future__ import annotations

from collections.abc import Awaitable

from sidecar.decision import KEEP, Inspection
from sidecar.exchange import Exchange
from sidecar.guards.limits.body_rate_limit import BodyRateLimitGuard
from sidecar.guards.limits.rate_limit import RateLimitGuard


class TextRateLimitGuard(BodyRateLimitGuard):
    """Take the limits that count chat messages, after the message's own guard has read the body."""

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection | Awaitable[Inspection]:
        """Take the limits if the body carries a new text."""
        return super().inspect(exchange, body) if exchange.says_new else KEEP


def build_text_rate_limit(head: RateLimitGuard, late: RateLimitGuard) -> BodyRateLimitGuard:
    """Build the guard over two guards of one store: the limits that the head asked, and those that it left."""
    return TextRateLimitGuard(head, late)
