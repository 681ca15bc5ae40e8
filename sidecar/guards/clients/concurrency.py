"""How many requests one client may have open at once, streams included."""

from __future__ import annotations

from typing import Final

from sidecar.decision import PASS, Decision, Detail, Refuse
from sidecar.exchange import Exchange
from sidecar.vocabulary import Code

RETRY_AFTER: Final = 1
"""Seconds in Retry-After: when a stream ends is unknown, and a client without a value would retry at once."""


PARTS: Final = frozenset(
    {b"script", b"style", b"image", b"font", b"manifest", b"worker", b"sharedworker", b"audio", b"video"}
)
"""`Sec-Fetch-Dest` of what a browser loads to show a page (Fetch standard, 2.2.7)."""

PARTS_FACTOR: Final = 5
"""Parts of pages that a client may load at once, as a multiple of the limit: several visitors share an address, and
each browser opens six connections. They are counted apart, so that a page that loads does not refuse a message."""


class Slot:
    """One open request of a client. Calling it gives the place back, once, however often it is called."""

    __slots__ = ("_open", "_subject")

    def __init__(self, open_requests: dict[str, int], subject: str) -> None:
        self._open: dict[str, int] | None = open_requests
        self._subject = subject

    def __call__(self) -> None:
        counts, self._open = self._open, None
        if counts is None:
            return
        left = counts.get(self._subject, 0) - 1
        if left > 0:
            counts[self._subject] = left
        else:
            counts.pop(self._subject, None)


class ConcurrencyGuard:
    """Count open requests by client; refuse the one too many with 429, as Traefik, HAProxy and OpenAI do.

    Not 503: load balancers would take the pod out, and only this client is busy.
    The end of an exchange calls all of `exchange.releases`. `open_requests` is passed from policy to
    policy, so that a reload keeps count of streams; it contains clients with an open request only, and
    connections bound it.
    """

    name = "concurrency"

    def __init__(self, limit: int, open_requests: dict[str, int] | None = None) -> None:
        self._limit = limit
        self._open: dict[str, int] = {} if open_requests is None else open_requests

    def check(self, exchange: Exchange) -> Decision:
        """Count the request in; refuse with 429 at the limit. A page's parts are counted apart, with a larger limit."""
        subject, limit = exchange.client.subject, self._limit
        index = exchange.head.index
        if index.get(b"sec-fetch-dest") in PARTS and exchange.head.method == "GET" and b"upgrade" not in index:
            subject, limit = f"{subject} parts", limit * PARTS_FACTOR
        count = self._open.get(subject, 0)
        if count >= limit:
            detail: Detail = {"limit": "concurrent_per_client", "per": "ip", "open": count}
            return Refuse(Code.RATE_LIMIT_EXCEEDED, detail, [(b"Retry-After", b"%d" % RETRY_AFTER)])
        self._open[subject] = count + 1
        exchange.releases.append(Slot(self._open, subject))
        return PASS
