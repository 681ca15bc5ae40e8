"""Cross-site request forgery, by what browsers say of where a request comes from (Fetch Metadata)."""

from __future__ import annotations

from typing import Final

from sidecar.decision import PASS, Decision, Refuse
from sidecar.exchange import Exchange
from sidecar.vocabulary import Code

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 §9.2.1). A backend that changes state on GET is not protected."""

OWN: Final = frozenset({b"same-origin", b"none"})
"""`none` means that the user started the request: the address bar, a bookmark."""


class FetchMetadataGuard:
    """Refuse a state change that another site's page started, unless its Origin is allowed.

    `same-site` counts as another site: a preview, a forum or a forgotten subdomain is not the chat.
    So does a value that is not known. Requests without the header come from programs, or from
    browsers too old to send it, which send Origin with every POST: that is CORS's work. A WebSocket
    handshake is a GET by name only.
    """

    name = "fetch_metadata"

    def check(self, exchange: Exchange) -> Decision:
        """Refuse with 403 by Sec-Fetch-Site and Sec-Fetch-Mode (W3C Fetch Metadata)."""
        index = exchange.head.index
        site = index.get(b"sec-fetch-site")
        if site is None or site in OWN or exchange.origin is not None:
            return PASS
        mode = index.get(b"sec-fetch-mode", b"")
        if exchange.head.method in SAFE and mode != b"websocket":
            return PASS
        detail = {"site": site[:32].decode("latin-1"), "mode": mode[:32].decode("latin-1")}
        return Refuse(Code.CSRF_BLOCKED, detail)

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`)."""
        return self.check(exchange) is PASS
