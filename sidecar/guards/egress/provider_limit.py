"""Calls that the provider would refuse: they are refused here, with the time that it has said."""

from __future__ import annotations

from math import ceil

from sidecar.decision import PASS, Decision, Refuse
from sidecar.exchange import Exchange
from sidecar.stores.provider_limits import CredentialName, ProviderLimits
from sidecar.vocabulary import Code


class ProviderLimitGuard:
    """Refuse a call under a credential whose provider has answered 429 and has said until when. After the handle."""

    name = "provider_limit"

    def __init__(self, limits: ProviderLimits, provider: str, credential: str) -> None:
        self._limits = limits
        self._provider = provider
        self._credential = credential

    def check(self, exchange: Exchange) -> Decision:
        """Refuse with 429 and Retry-After, in whole seconds and in milliseconds."""
        name = CredentialName(exchange.organization, self._provider, self._credential)
        wait = self._limits.wait(name, exchange.now)
        if not wait:
            return PASS
        seconds = ceil(wait)
        fields = [(b"Retry-After", b"%d" % seconds), (b"retry-after-ms", b"%d" % ceil(wait * 1000))]
        return Refuse(
            Code.RATE_LIMIT_EXCEEDED,
            {"reason": "provider", "provider": self._provider, "retry_after": seconds},
            fields,
            sentence="The provider takes no more requests now",
        )
