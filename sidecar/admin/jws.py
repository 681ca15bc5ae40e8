"""The signatures of tokens (RFC 7515): the only file that calls the library for them.

The library and its cryptography cost megabytes, so it is imported by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sidecar.secret import Secret

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
    from joserfc.jws import JWSRegistry

    PublicKey = RSAKey | ECKey | OKPKey

# The list is fixed, and each algorithm has one type of key: a public RSA key is never an HMAC secret
# (RFC 8725 §3.1). Ed25519 is what RFC 9864 calls EdDSA with that curve.
KEY_TYPES: Final[Mapping[str, str]] = {
    "HS256": "oct",
    "RS256": "RSA",
    "ES256": "EC",
    "EdDSA": "OKP",
    "Ed25519": "OKP",
}


@cache
def _registry() -> JWSRegistry:
    from joserfc.errors import UnsupportedAlgorithmError
    from joserfc.jws import JWSRegistry

    class Registry(JWSRegistry):
        """Exactly the algorithms of `KEY_TYPES`, whatever the library recommends."""

        def get_alg(self, name: str) -> Any:
            if name not in KEY_TYPES:
                raise UnsupportedAlgorithmError(name)
            return self.algorithms[name]

    return Registry(strict_check_header=False)


def shared_key(secret: Secret) -> OctKey:
    """Return the key of HS256."""
    from joserfc.jwk import OctKey

    return OctKey.import_key(secret.reveal().encode())


def claims_under(key: OctKey | PublicKey, token: str) -> Mapping[str, Any] | None:
    """Return the claims of a token that is signed with this key, or None."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    try:
        return jwt.decode(token, key, registry=_registry()).claims
    except (JoseError, ValueError, RecursionError):
        return None


def signed(claims: dict[str, Any], key: OctKey) -> str:
    """Return a token with these claims, signed with HS256."""
    from joserfc import jwt

    return jwt.encode({"alg": "HS256"}, claims, key, registry=_registry())
