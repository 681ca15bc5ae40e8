"""Tokens are verified by the policy in force, not by the one that was there at the start."""

from __future__ import annotations

import pytest

from sidecar.admin.jwt import TokenRefused, make_token
from sidecar.admin.policy_verifier import PolicyVerifier
from sidecar.admin.roles import Role
from sidecar.policy.schema.credentials import Tokens
from sidecar.secret import Secret
from tests.support.clock import FakeClock

SECRET = Secret("an invented secret of forty characters..")
CLOCK = FakeClock()
OTHER = Tokens.model_validate({"audience": "another"})


def token() -> str:
    return make_token(SECRET, Role.VIEWER, now=CLOCK.now(), subject="somebody")


def test_another_audience_counts_from_the_reload_on() -> None:
    verifier = PolicyVerifier(CLOCK, SECRET, Tokens())
    assert verifier.verify(token())["sub"] == "somebody"
    verifier.use(OTHER)
    with pytest.raises(TokenRefused):
        verifier.verify(token())
    verifier.use(Tokens())
    assert verifier.claims(token().encode()) is not None


def test_what_is_no_token_of_ours_has_no_claims() -> None:
    verifier = PolicyVerifier(CLOCK, SECRET, OTHER)
    assert verifier.claims(token().encode()) is None
    assert verifier.claims(b"a.b.c") is None


async def test_a_key_set_is_followed_only_while_the_policy_names_it() -> None:
    verifier = PolicyVerifier(CLOCK, None, Tokens.model_validate({"jwks": "/nowhere/keys.json"}))
    first = verifier._following
    assert first is not None
    verifier.use(Tokens())
    assert verifier._following is None
    assert first.cancelling()
    with pytest.raises(TokenRefused):
        verifier.verify(token())


def test_nothing_to_verify_with_refuses_everything() -> None:
    with pytest.raises(TokenRefused):
        PolicyVerifier(CLOCK, None, Tokens()).verify(token())
