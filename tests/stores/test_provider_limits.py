from __future__ import annotations

from sidecar.stores.provider_limits import LONGEST, CredentialName, ProviderLimits

ACME = CredentialName("acme", "openai", "")


def test_until_when_a_credential_is_refused() -> None:
    limits = ProviderLimits()
    limits.note(ACME, 20.0, 1000.0)
    assert limits.wait(ACME, 1005.0) == 15.0
    assert limits.wait(ACME._replace(name="other"), 1005.0) == 0.0
    assert limits.wait(ACME, 1020.0) == 0.0


def test_one_answer_is_not_believed_for_ever() -> None:
    limits = ProviderLimits()
    limits.note(ACME, 86_400.0, 1000.0)
    limits.note(ACME._replace(name="other"), 0.9, 1000.0)
    assert limits.wait(ACME, 1000.0) == LONGEST
    assert limits.wait(ACME._replace(name="other"), 1000.0) == 0.0


def test_the_table_is_bounded() -> None:
    limits = ProviderLimits(2)
    names = [ACME._replace(organization=each) for each in "abc"]
    for name in names:
        limits.note(name, 20.0, 1000.0)
    assert [limits.wait(name, 1000.0) for name in names] == [0.0, 20.0, 20.0]
