"""Builds the guards of the origin from `cors`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.errors import Problems
from sidecar.guards.origins.cors import CorsGuard, build_cors
from sidecar.guards.origins.fetch_metadata import FetchMetadataGuard
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services

REMAINING: Final = "X-Sidecar-Budget-Remaining"
"""A header of the sidecar's own, where the policy asks for it: pages may read it."""


@dataclass(frozen=True, slots=True)
class OriginGuards:
    """The guards of one policy that ask where a browser's request comes from."""

    cors: CorsGuard
    fetch_metadata: FetchMetadataGuard


def build(schema: PolicySchema, _: Services, problems: Problems) -> OriginGuards:
    """Build the guards of a policy; `problems` is at its root."""
    cors = schema.cors
    told = (REMAINING,) if any(budget.header for budget in schema.budgets) else ()
    guard = build_cors(
        cors.allowed_origins,
        cors.allowed_methods,
        cors.allowed_headers,
        (*cors.exposed_headers, *told),
        cors.allow_credentials,
        cors.max_age,
        cors.dangerously_allow_insecure_origins,
        problems.at("cors"),
        observe=not schema.enforces("cors"),
    )
    return OriginGuards(guard, FetchMetadataGuard())
