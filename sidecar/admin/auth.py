"""Who is calling: from a bearer token to a grant, with a bound to wrong tokens."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final, Protocol

from sidecar.admin.jwt import Keys, TokenRefused, UnknownKey
from sidecar.admin.refusal import Refused, refuse
from sidecar.admin.roles import EVERY, ROLES, Grant
from sidecar.clock import Clock
from sidecar.vocabulary import Code

FAILURES: Final = 20  # wrong tokens that one peer may show in a window
WINDOW: Final = 60.0
MAX_PEERS: Final = 1024
MAX_ACTOR: Final = 128


class TokenVerifier(Protocol):
    """Verifies tokens: `admin.jwt.Verifier`, or one that follows the policy."""

    @property
    def keys(self) -> Keys | None:
        """The key set that may be older than a token, or None."""
        ...

    def verify(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token that holds now, or raise TokenRefused."""
        ...


class Authority:
    """Turn tokens into grants.

    A peer that showed too many wrong tokens is told to wait. A right token is always good: peers may
    share an address (port forwarding), and guessing one must not lock out another. A signature of 256
    bits is not found by guessing; the bound keeps wrong tokens from filling the audit log.
    """

    def __init__(self, verifier: TokenVerifier, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    async def authenticate(self, peer: str, authorization: str | None) -> Grant:
        """Return what the caller may do, or raise Refused (401, 429)."""
        try:
            return _grant(await self._verified(_bearer(authorization)))
        except TokenRefused as refused:
            self._bound(peer)
            self._failed(peer)
            raise _unauthorized(refused.reason) from None

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


def _bearer(authorization: str | None) -> str:
    """Return the token of `Authorization: Bearer …` (RFC 6750 §2.1), or nothing."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _grant(claims: Mapping[str, Any]) -> Grant:
    role, organization, subject = claims.get("role"), claims.get("org"), claims.get("sub")
    if not isinstance(role, str) or role not in ROLES:
        raise TokenRefused("role")
    if not isinstance(organization, str) or not organization or _stored(organization) != organization:
        raise TokenRefused("organization")
    actor = _stored(subject[:MAX_ACTOR]) if isinstance(subject, str) and subject else "token"
    return Grant(actor, ROLES[role], None if organization == EVERY else organization, float(claims["exp"]))


def _stored(value: str) -> str:
    """Return a text as every database can hold it: JSON also spells NUL and halves of surrogate pairs."""
    return value.encode("utf-8", "replace").decode().replace("\0", "?")


def _unauthorized(reason: str) -> Refused:
    error = "" if reason == "missing" else ', error="invalid_token"'  # RFC 6750 §3.1
    return refuse(Code.AUTH_FAILED, headers={"WWW-Authenticate": f'Bearer realm="sidecar"{error}'}, reason=reason)
