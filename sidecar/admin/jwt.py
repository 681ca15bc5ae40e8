"""JSON Web Tokens: made with the shared secret, verified with it or with a key set."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from sidecar.admin.jws import KEY_TYPES, claims_under, shared_key, signed
from sidecar.admin.roles import EVERY, Role
from sidecar.clock import Clock
from sidecar.errors import ConfigError
from sidecar.secret import Secret

if TYPE_CHECKING:
    from joserfc.jwk import OctKey

    from sidecar.admin.jws import PublicKey

AUDIENCE: Final = "sidecar"
MAX_TOKEN: Final = 8192
MAX_CANDIDATES: Final = 8  # keys that a token without `kid` is tried with
MAX_TTL: Final = 366 * 86400.0
LEEWAY: Final = 30.0  # for `nbf` of a clock that runs ahead; `exp` gets none
MAX_DATE: Final = 253_402_300_800  # the year 10000, in epoch seconds


class TokenRefused(Exception):
    """A token is not valid; `reason` is one word for events, never sent to the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownKey(TokenRefused):
    """No key of the set may have signed it: the set may be older than the token."""


class Keys(Protocol):
    """Public keys of a set, as known now."""

    def find(self, kid: str | None, key_type: str) -> Sequence[PublicKey]:
        """Return the keys of one type: the one with that id, or all when the token names none."""
        ...

    async def renew(self) -> bool:
        """Read the set again, if that was not just done; return whether it was read."""
        ...


class Verifier:
    """Verify tokens for one audience, with HS256's secret, a key set, or both."""

    def __init__(
        self,
        clock: Clock,
        *,
        secret: Secret | None = None,
        keys: Keys | None = None,
        audience: str = AUDIENCE,
        issuer: str | None = None,
    ) -> None:
        self._clock = clock
        self._secret: OctKey | None = None
        if secret:
            self._secret = shared_key(secret)
        self.keys = keys
        self._audience = audience
        self._issuer = issuer

    def verify(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token that is valid now, or raise TokenRefused. No I/O."""
        if len(token) > MAX_TOKEN or not token.isascii():
            raise TokenRefused("malformed")
        header = _header(token)
        algorithm = header.get("alg")
        key_type = KEY_TYPES.get(algorithm) if isinstance(algorithm, str) else None
        if key_type is None:
            raise TokenRefused("algorithm")
        if "crit" in header:
            raise TokenRefused("critical")  # RFC 7515 §4.1.11: we understand no extension
        claims = self._signed(token, self._candidates(header.get("kid"), key_type))
        self._hold(claims)
        return claims

    def _candidates(self, kid: object, key_type: str) -> Sequence[OctKey | PublicKey]:
        if key_type == "oct":
            if self._secret is None:
                raise TokenRefused("algorithm")
            return [self._secret]
        if self.keys is None:
            raise TokenRefused("algorithm")
        if kid is not None and not isinstance(kid, str):
            raise TokenRefused("malformed")
        found = self.keys.find(kid, key_type)[:MAX_CANDIDATES]
        if not found:
            raise UnknownKey("unknown_key")
        return found

    def _signed(self, token: str, candidates: Sequence[OctKey | PublicKey]) -> Mapping[str, Any]:
        for key in candidates:
            claims = claims_under(key, token)
            if claims is not None:
                return claims
        raise TokenRefused("signature")

    def _hold(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now()
        expires, begins = _date(claims.get("exp")), _date(claims.get("nbf", 0))
        if expires <= now:
            raise TokenRefused("expired")
        if begins > now + LEEWAY:
            raise TokenRefused("not_yet")
        audience = claims.get("aud")
        if audience != self._audience and not (isinstance(audience, list) and self._audience in audience):
            raise TokenRefused("audience")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise TokenRefused("issuer")


def make_token(
    secret: Secret, role: Role, *, now: float, ttl: float = 3600.0, organization: str = EVERY, subject: str = "cli"
) -> str:
    """Return an admin token for `sidecar token`, HS256. ConfigError when it would be good for too long."""
    if not 0 < ttl <= MAX_TTL:
        raise ConfigError("a token is good for at least a second and at most 366 days")
    claims = {
        "aud": AUDIENCE,
        "sub": subject,
        "role": role.word,
        "org": organization,
        "iat": int(now),
        "exp": int(now + ttl),
        "jti": os.urandom(12).hex(),
    }
    return signed(claims, shared_key(secret))


def _date(value: object) -> float:
    """Return a NumericDate (RFC 7519 §2). A token without one would never expire; NaN compares as False."""
    if isinstance(value, int | float) and not isinstance(value, bool) and -MAX_DATE <= value <= MAX_DATE:
        return value
    raise TokenRefused("expiry")


def _header(token: str) -> Mapping[str, Any]:
    """Return the protected header, unverified: it only chooses the key."""
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenRefused("malformed")
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise TokenRefused("malformed") from None
    if not isinstance(header, dict):
        raise TokenRefused("malformed")
    return header
