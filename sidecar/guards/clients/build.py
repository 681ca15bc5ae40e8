"""Builds the guards of the client from `clients` and `requests.concurrent_per_client`."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.errors import Problems
from sidecar.guards.clients.address import AddressGuard, build_address
from sidecar.guards.clients.bans import BanGuard
from sidecar.guards.clients.concurrency import ConcurrencyGuard
from sidecar.guards.clients.identity_headers import IdentityHeaders, build_identity_headers
from sidecar.guards.clients.request_id import RequestIdGuard
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services


@dataclass(frozen=True, slots=True)
class ClientGuards:
    """The guards of one policy that ask about the client; None where the policy switches one off."""

    address: AddressGuard
    identity: IdentityHeaders
    request_id: RequestIdGuard | None
    bans: BanGuard | None
    concurrency: ConcurrencyGuard | None


def build(schema: PolicySchema, services: Services, problems: Problems) -> ClientGuards:
    """Build the guards of a policy; `problems` is at its root."""
    clients, concurrent = schema.clients, schema.requests.concurrent_per_client
    return ClientGuards(
        address=build_address(
            clients.trusted_proxies,
            clients.ipv6_prefix,
            clients.allow,
            clients.deny,
            problems.at("clients"),
            services.proxies,
        ),
        identity=build_identity_headers(
            clients.pass_headers, services.dropped_headers, problems.at("clients.pass_headers")
        ),
        request_id=RequestIdGuard() if clients.trusted_proxies else None,
        bans=BanGuard(services.bans, services.proxies) if clients.ban is not None else None,
        concurrency=None if concurrent is None else ConcurrencyGuard(concurrent, services.open_requests),
    )
