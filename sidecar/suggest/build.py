"""Builds the observer of a policy that only observes; other policies have none, and it costs them nothing."""

from __future__ import annotations

from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services
from sidecar.suggest.observer import Observer


def build(schema: PolicySchema, services: Services) -> Observer | None:
    """Return the observer of `mode: observe`, unless `suggestions` is false."""
    return Observer(services.observations) if schema.mode == "observe" and schema.suggestions else None
