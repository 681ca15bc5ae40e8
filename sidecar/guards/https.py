"""https only: readers are sent to the safe address, everything else is refused."""

from __future__ import annotations

from typing import Final

from sidecar.decision import PASS, Answer, Decision, Refuse
from sidecar.exchange import Exchange
from sidecar.guards.host import without_port
from sidecar.vocabulary import Code

PLAIN: Final = Refuse(Code.FORBIDDEN, {"reason": "https only"})


class HttpsGuard:
    """Redirect GET and HEAD over http to https with 308; refuse every other request with 403.

    What a POST carried has already crossed the network in the clear: a redirect would hide the
    mistake in the page and send the message again. A WebSocket handshake is not redirected because
    no browser follows one there. The redirect goes to the default port: the public one is not known.
    In observe mode leave this guard out, a redirect cannot be observed.
    """

    name = "https"

    def check(self, exchange: Exchange) -> Decision:
        """Pass https requests; redirect GET and HEAD, refuse other methods and upgrades."""
        if exchange.secure:
            return PASS
        head = exchange.head
        host = without_port(exchange.host)
        if head.method not in ("GET", "HEAD") or b"upgrade" in head.index or not host:
            return PLAIN
        location = b"https://" + host + (head.target if head.target.startswith(b"/") else b"/")
        return Answer(308, [(b"Location", location), (b"Cache-Control", b"no-store")])

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`)."""
        return self.check(exchange) is PASS
