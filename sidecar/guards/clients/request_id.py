"""The id of a request: made here, unless a trusted proxy in front has given it one already."""

from __future__ import annotations

from sidecar.decision import PASS, Decision
from sidecar.exchange import Exchange
from sidecar.guards.clients.address import accepted_request_id


class RequestIdGuard:
    """Take over a trusted proxy's `X-Request-ID`; asked right after the address is known."""

    name = "request_id"
    varying = True

    def check(self, exchange: Exchange) -> Decision:
        """Set `exchange.id` when a trusted proxy sent a well-formed id. Always passes."""
        if b"x-request-id" not in exchange.head.index:
            return PASS
        given = accepted_request_id(exchange.head, trusted=exchange.client.trusted)
        if given:
            exchange.id = given
        return PASS

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`)."""
        return self.check(exchange) is PASS
