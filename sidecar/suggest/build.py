"""Builds the observer of a policy that only observes; other policies have none, and it costs them nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services

if TYPE_CHECKING:
    from sidecar.suggest.observer import Observer


def build(schema: PolicySchema, services: Services) -> Observer | None:
    """Return the observer of `mode: observe`, unless `suggestions` is false."""
    if schema.mode != "observe" or not schema.suggestions:
        return None
    from sidecar.suggest.observer import Observer

    return Observer(services.observations)
