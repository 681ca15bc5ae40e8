"""What the public listener answers itself, as the last guard of its own routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.decision import PASS, Decision, Refuse
from sidecar.exchange import Exchange
from sidecar.guards.limits.rate_limit import RateLimitGuard
from sidecar.vocabulary import Code

_READING: Final = ("GET", "HEAD")


class RateLimitStatus:
    """`GET /api/rate-limit/status`: the caller's own state. The request is not counted."""

    name = "rate_limit_status"

    def __init__(self, guard: RateLimitGuard) -> None:
        self._guard = guard

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Answer GET and HEAD with the state of the caller's limits; refuse other methods with 405."""
        if exchange.head.method in _READING:
            return self._guard.status(exchange)
        return Refuse(Code.METHOD_NOT_ALLOWED, {}, [(b"Allow", b"GET, HEAD")])


class CspReports:
    """Lets only POST to the path that browsers send CSP reports to; the guard of its body answers."""

    name = "csp_reports"

    def check(self, exchange: Exchange) -> Decision:
        """Pass POST; refuse other methods with 405."""
        if exchange.head.method != "POST":
            return Refuse(Code.METHOD_NOT_ALLOWED, {}, [(b"Allow", b"POST")])
        return PASS


class Unmatched:
    """The end of a policy that names every route: 405 when the path is known, 404 when it is not."""

    name = "unmatched"

    def __init__(self, methods: Callable[[str], frozenset[str]]) -> None:
        self._methods = methods

    def check(self, exchange: Exchange) -> Decision:
        """Refuse with 405 and Allow when other methods are served at this path, with 404 otherwise."""
        allowed = self._methods(exchange.head.path)
        if allowed:
            return Refuse(Code.METHOD_NOT_ALLOWED, {}, [(b"Allow", ", ".join(sorted(allowed)).encode())])
        return Refuse(Code.NOT_FOUND)
