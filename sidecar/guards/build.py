"""Builds the guards of the request itself from `organizations` and `requests`."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.errors import Problems
from sidecar.guards.host import HostGuard, build_host
from sidecar.guards.https import HttpsGuard
from sidecar.guards.maintenance import MaintenanceGuard
from sidecar.guards.organization import OrganizationGuard, build_organization
from sidecar.guards.user_agent import UserAgentGuard, build_user_agent
from sidecar.maintenance import Notice
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services


@dataclass(frozen=True, slots=True)
class RequestGuards:
    """Guards of one policy that are alone in their subject; None where the policy switches one off."""

    maintenance: MaintenanceGuard
    organization: OrganizationGuard
    host: HostGuard | None
    https: HttpsGuard | None
    user_agent: UserAgentGuard | None


def build(schema: PolicySchema, services: Services, problems: Problems) -> RequestGuards:
    """Build the guards of a policy; `problems` is at its root."""
    section, notice = schema.organizations, schema.maintenance
    return RequestGuards(
        maintenance=MaintenanceGuard(
            services.maintenance, Notice(notice.message, notice.retry_after) if notice is not None else None
        ),
        organization=build_organization(
            section.sources, section.hosts, section.default, problems.at("organizations"), verify=services.verify
        ),
        host=build_host(schema.requests.hosts, problems.at("requests.hosts")),
        https=HttpsGuard() if schema.requests.https_only else None,
        user_agent=build_user_agent(schema.requests.denied_user_agents, problems.at("requests.denied_user_agents")),
    )
