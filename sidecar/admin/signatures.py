"""The signatures of tokens: the only file that calls the library for them. Imported where there is a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

from sidecar.admin.tokens import KEY_TYPES
from sidecar.secret import Secret

if TYPE_CHECKING:
    from sidecar.admin.tokens import PublicKey


class _Registry(JWSRegistry):
    """Exactly the algorithms of the list; what the library recommends otherwise does not matter."""

    def get_alg(self, name: str) -> Any:
        if name not in KEY_TYPES:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


_REGISTRY: Final = _Registry(strict_check_header=False)


def shared_key(secret: Secret) -> OctKey:
    """Return the key of HS256."""
    return OctKey.import_key(secret.reveal().encode())


def claims_under(key: OctKey | PublicKey, token: str) -> Mapping[str, Any] | None:
    """Return what a token says, when it is signed with this key."""
    try:
        return jwt.decode(token, key, registry=_REGISTRY).claims
    except (JoseError, ValueError):
        return None


def signed(claims: dict[str, Any], key: OctKey) -> str:
    """Return a token with these claims, HS256."""
    return jwt.encode({"alg": "HS256"}, claims, key, registry=_REGISTRY)
