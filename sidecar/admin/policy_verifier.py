"""A verifier of tokens that follows the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.admin.jwt import TokenRefused, Verifier
from sidecar.clock import Clock
from sidecar.policy.schema.credentials import Tokens
from sidecar.secret import Secret

if TYPE_CHECKING:
    from sidecar.admin.jwks import KeySet


class PolicyVerifier(Verifier):
    """Verify by the key set, audience and issuer of the policy in force; `use` takes those of a new one.

    Without a secret and a key set every token is refused.
    """

    def __init__(self, clock: Clock, secret: Secret | None, tokens: Tokens) -> None:
        self._tokens = tokens
        self._shared = secret
        self._following: asyncio.Task[None] | None = None
        self._begin(clock)

    def use(self, tokens: Tokens, clock: Clock) -> None:
        """Take another section of the policy; keys of the old section are no longer accepted."""
        if tokens != self._tokens:
            self.close()
            self._tokens = tokens
            self._begin(clock)

    def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = None

    def claims(self, token: bytes) -> Mapping[str, Any] | None:
        """Tell the claims of a bearer token on the public side; no token of ours is no error."""
        try:
            return self.verify(token.decode("ascii"))
        except TokenRefused:
            return None

    def _begin(self, clock: Clock) -> None:
        tokens = self._tokens
        keys: KeySet | None = None
        if tokens.jwks is not None:
            from sidecar.admin.jwks import KeySet, from_file, from_url

            read = from_url(tokens.jwks) if "://" in tokens.jwks else from_file(Path(tokens.jwks))
            keys = KeySet(read, clock, refresh=tokens.refresh)
            self._following = asyncio.create_task(keys.keep_fresh())
        super().__init__(clock, secret=self._shared, keys=keys, audience=tokens.audience, issuer=tokens.issuer)
