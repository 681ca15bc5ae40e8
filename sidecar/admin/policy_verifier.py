"""A verifier of tokens that follows the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.admin.jwt import Keys, TokenRefused, Verifier
from sidecar.clock import Clock
from sidecar.policy.schema.credentials import Tokens
from sidecar.secret import Secret

if TYPE_CHECKING:
    from sidecar.admin.jwks import KeySet


class PolicyVerifier:
    """Verify by the key set, audience and issuer of the policy in force; `use` takes those of a new one.

    Without a secret and a key set every token is refused.
    """

    def __init__(self, clock: Clock, secret: Secret | None, tokens: Tokens) -> None:
        self._clock = clock
        self._secret = secret
        self._tokens = tokens
        self._following: asyncio.Task[None] | None = None
        self._verifier = self._build(tokens)

    @property
    def keys(self) -> Keys | None:
        """The key set that tokens are verified by; None when the policy names none."""
        return self._verifier.keys

    def verify(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token that holds now, or raise TokenRefused. No I/O."""
        return self._verifier.verify(token)

    def claims(self, token: bytes) -> Mapping[str, Any] | None:
        """Return the claims of a bearer token on the public side; None when it is no token of ours."""
        try:
            return self._verifier.verify(token.decode("ascii"))
        except TokenRefused:
            return None

    def use(self, tokens: Tokens) -> None:
        """Take another section of the policy; the keys of the old one are believed no more."""
        if tokens != self._tokens:
            self.close()
            self._tokens = tokens
            self._verifier = self._build(tokens)

    def close(self) -> None:
        """Stop reading the key set."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    def _build(self, tokens: Tokens) -> Verifier:
        keys: KeySet | None = None
        if tokens.jwks is not None:
            from sidecar.admin.jwks import KeySet, from_file, from_url

            read = from_url(tokens.jwks) if "://" in tokens.jwks else from_file(Path(tokens.jwks))
            keys = KeySet(read, self._clock, refresh=tokens.refresh)
            self._following = asyncio.create_task(keys.keep_fresh())
        return Verifier(self._clock, secret=self._secret, keys=keys, audience=tokens.audience, issuer=tokens.issuer)
