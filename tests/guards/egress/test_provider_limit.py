from __future__ import annotations

from sidecar.decision import PASS, Refuse
from sidecar.exchange import Exchange
from sidecar.guards.egress.provider_limit import ProviderLimitGuard
from sidecar.stores.provider_limits import CredentialName, ProviderLimits
from tests.support.exchanges import exchange

NOW = 1_800_000_000.0


def asked(organization: str, now: float) -> Exchange:
    made = exchange("POST", "/openai/v1/chat/completions", now=now)
    made.organization = organization
    return made


def test_refused_until_the_time_that_the_provider_said() -> None:
    limits = ProviderLimits()
    guard = ProviderLimitGuard(limits, "openai", "")
    assert guard.check(asked("acme", NOW)) is PASS
    limits.note(CredentialName("acme", "openai", ""), 20.0, NOW)
    refused = guard.check(asked("acme", NOW + 7.5))
    assert isinstance(refused, Refuse)
    assert refused.fields == [(b"Retry-After", b"13"), (b"retry-after-ms", b"12500")]
    assert refused.detail == {"reason": "provider", "provider": "openai", "retry_after": 13}
    assert guard.check(asked("globex", NOW + 7.5)) is PASS
    assert guard.check(asked("acme", NOW + 20.0)) is PASS
