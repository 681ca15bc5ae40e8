"""Only a policy that observes has an observer, and a word switches it off."""

from __future__ import annotations

import pytest

from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from tests.support.policies import BASE, read


@pytest.mark.parametrize(
    ("text", "observed"),
    [("", False), ("mode: observe\n", True), ("mode: observe\nsuggestions: false\n", False)],
    ids=["enforced", "observed", "switched off"],
)
def test_who_is_observed(text, observed) -> None:
    route = compile_policy(read(BASE + text), isolated_services()).public.routes.find("POST", "/x")
    names = [step.guard.name for step in (*route.steps, *route.body_steps)]
    assert (names.count("suggestions"), route.observer is not None) == ((2, True) if observed else (0, False))
