"""Who is calling: from a bearer token to a grant, with a bound to wrong guesses."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final

from sidecar.admin.jwt import TokenRefused, UnknownKey, Verifier
from sidecar.admin.refusal import Refused, refuse
from sidecar.admin.roles import EVERY, ROLES, Grant
from sidecar.clock import Clock
from sidecar.vocabulary import Code

FAILURES: Final = 20  # wrong tokens that one peer may show in a window
WINDOW: Final = 60.0
MAX_PEERS: Final = 1024
MAX_KNOWN: Final = 256
MAX_ACTOR: Final = 128


class Authority:
    """Turn tokens into grants.

    A peer that presented too many wrong tokens has to wait, unless its token was accepted before: guessing
    cannot lock out the holder of a valid token.
    """

    def __init__(self, verifier: Verifier, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    async def authenticate(self, peer: str, authorization: str | None) -> Grant:
        """Return what the caller may do, or raise Refused (401, 429)."""
        token = _bearer(authorization)
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        if digest not in self._known:
            self._bound(peer)
        try:
            grant = _grant(await self._verified(token))
        except TokenRefused as refused:
            self._known.pop(digest, None)
            self._failed(peer)
            raise _unauthorized(refused.reason) from None
        self._remember(digest, grant.expires)
        return grant

    async def _verified(self, token: str) -> Mapping[str, Any]:
        if not token:
            raise TokenRefused("missing")
        try:
            return self._verifier.verify(token)
        except UnknownKey:
            keys = self._verifier.keys
            if keys is None or not await keys.renew():
                raise
            return self._verifier.verify(token)

    def _bound(self, peer: str) -> None:
        times = self._failures.get(peer)
        if times is None:
            return
        now = self._clock.monotonic()
        while times and times[0] <= now - WINDOW:
            times.popleft()
        if len(times) >= FAILURES:
            wait = int(times[0] + WINDOW - now) + 1
            raise refuse(Code.RATE_LIMIT_EXCEEDED, headers={"Retry-After": str(wait)}, reason="guesses")

    def _failed(self, peer: str) -> None:
        times = self._failures.setdefault(peer, deque(maxlen=FAILURES))
        times.append(self._clock.monotonic())
        self._failures.move_to_end(peer)
        if len(self._failures) > MAX_PEERS:
            self._failures.popitem(last=False)

    def _remember(self, digest: bytes, expires: float) -> None:
        self._known[digest] = expires
        self._known.move_to_end(digest)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)


def _bearer(authorization: str | None) -> str:
    """Return the token of `Authorization: Bearer …` (RFC 6750 §2.1), or nothing."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _grant(claims: Mapping[str, Any]) -> Grant:
    role, organization, subject = claims.get("role"), claims.get("org"), claims.get("sub")
    if not isinstance(role, str) or role not in ROLES:
        raise TokenRefused("role")
    if not isinstance(organization, str) or not organization:
        raise TokenRefused("organization")
    actor = subject[:MAX_ACTOR] if isinstance(subject, str) and subject else "token"
    return Grant(actor, ROLES[role], None if organization == EVERY else organization, float(claims["exp"]))


def _unauthorized(reason: str) -> Refused:
    error = "" if reason == "missing" else ', error="invalid_token"'  # RFC 6750 §3.1
    return refuse(Code.AUTH_FAILED, headers={"WWW-Authenticate": f'Bearer realm="sidecar"{error}'}, reason=reason)
