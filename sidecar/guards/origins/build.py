"""Builds the guards of the origin from `cors`."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.errors import Problems
from sidecar.guards.origins.cors import CorsGuard, build_cors
from sidecar.guards.origins.fetch_metadata import FetchMetadataGuard
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services


@dataclass(frozen=True, slots=True)
class OriginGuards:
    """The guards of one policy that ask where a browser's request comes from."""

    cors: CorsGuard
    fetch_metadata: FetchMetadataGuard


def build(schema: PolicySchema, _: Services, problems: Problems) -> OriginGuards:
    """Build the guards of a policy; `problems` is at its root."""
    cors = schema.cors
    guard = build_cors(
        cors.allowed_origins,
        cors.allowed_methods,
        cors.allowed_headers,
        cors.exposed_headers,
        cors.allow_credentials,
        cors.max_age,
        cors.dangerously_allow_insecure_origins,
        problems.at("cors"),
        observe=not schema.enforces("cors"),
    )
    return OriginGuards(guard, FetchMetadataGuard())
