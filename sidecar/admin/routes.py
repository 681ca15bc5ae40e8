"""The table of the admin API: every operation with the role that it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web

from sidecar.admin import (
    audit,
    bans,
    budgets,
    costs,
    credentials,
    erasure,
    events,
    handles,
    lifecycle,
    limits,
    overview,
    policy,
    sessions,
    suggestions,
    whoami,
    why,
)
from sidecar.admin.api_request import Endpoint
from sidecar.admin.roles import Role

VIEWER, OPERATOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN

ENDPOINTS: Final = (
    Endpoint("GET", "/api/whoami", VIEWER, "token.show", whoami.show, recorded=False),
    Endpoint("GET", "/api/overview", VIEWER, "overview.show", overview.show, recorded=False),
    Endpoint("GET", "/api/rate-limit/status", VIEWER, "rate_limit.status", limits.overview, recorded=False),
    Endpoint("GET", "/api/rate-limit/admin/status/{type}/{key}", VIEWER, "rate_limit.look", limits.status),
    Endpoint("POST", "/api/rate-limit/reset", OPERATOR, "rate_limit.reset", limits.reset),
    Endpoint("GET", "/api/budgets", VIEWER, "budget.list", budgets.overview, recorded=False),
    Endpoint("GET", "/api/budgets/{type}/{key}", VIEWER, "budget.look", budgets.status),
    Endpoint("POST", "/api/budgets/reset", OPERATOR, "budget.reset", budgets.reset),
    Endpoint("GET", "/api/costs", VIEWER, "cost.list", costs.show, recorded=False),
    Endpoint("GET", "/api/sessions", VIEWER, "session.count", sessions.count, recorded=False),
    Endpoint("POST", "/api/sessions/find", VIEWER, "session.find", sessions.find),
    Endpoint("POST", "/api/sessions/end", OPERATOR, "session.end", sessions.end),
    Endpoint("GET", "/api/bans", VIEWER, "ban.list", bans.list_all, recorded=False),
    Endpoint("POST", "/api/bans", OPERATOR, "ban.add", bans.add),
    Endpoint("GET", "/api/bans/{ip}", VIEWER, "ban.look", bans.show),
    Endpoint("DELETE", "/api/bans", OPERATOR, "ban.lift", bans.lift),
    Endpoint("DELETE", "/api/bans/{ip}", OPERATOR, "ban.lift", bans.lift),
    Endpoint("GET", "/api/events", VIEWER, "event.list", events.recent, recorded=False),
    Endpoint("GET", "/api/audit", VIEWER, "audit.list", audit.recent),
    Endpoint("GET", "/api/audit/verify", VIEWER, "audit.verify", audit.verify),
    Endpoint("GET", "/api/policy", VIEWER, "policy.show", policy.show, recorded=False),
    Endpoint("GET", "/api/policy/values", VIEWER, "policy.values", policy.values, recorded=False),
    Endpoint("POST", "/api/policy/check", OPERATOR, "policy.check", policy.check),
    Endpoint("POST", "/api/policy/diff", OPERATOR, "policy.diff", policy.diff),
    Endpoint("POST", "/api/policy/replay", OPERATOR, "policy.replay", policy.replay),
    Endpoint("GET", "/api/why/{id}", VIEWER, "request.why", why.why, recorded=False),
    Endpoint("GET", "/api/maintenance", VIEWER, "maintenance.show", lifecycle.show, recorded=False),
    Endpoint("POST", "/api/maintenance", OPERATOR, "maintenance.on", lifecycle.on),
    Endpoint("DELETE", "/api/maintenance", OPERATOR, "maintenance.off", lifecycle.off),
    Endpoint("POST", "/api/drain", OPERATOR, "process.drain", lifecycle.drain),
    Endpoint("GET", "/api/suggestions", VIEWER, "suggestion.list", suggestions.show, recorded=False),
    Endpoint("POST", "/api/explain", VIEWER, "policy.explain", policy.explain),
    Endpoint("DELETE", "/api/subjects/{type}/{id}", ADMIN, "subject.erase", erasure.erase),
    Endpoint("GET", "/api/providers", VIEWER, "provider.list", credentials.providers, recorded=False),
    Endpoint("GET", "/api/api-credentials", VIEWER, "credential.list", credentials.list_all),
    Endpoint("POST", "/api/api-credentials", ADMIN, "credential.create", credentials.create),
    Endpoint("POST", "/api/api-credentials/test", ADMIN, "credential.test", credentials.test),
    Endpoint("PUT", "/api/api-credentials/{id}", ADMIN, "credential.update", credentials.update),
    Endpoint("DELETE", "/api/api-credentials/{id}", ADMIN, "credential.delete", credentials.delete),
    Endpoint("POST", "/api/api-credentials/{id}/rotate", ADMIN, "credential.rotate", credentials.rotate),
    Endpoint("GET", "/api/handles", VIEWER, "handle.list", handles.list_all),
    Endpoint("POST", "/api/handles", ADMIN, "handle.create", handles.create),
    Endpoint("DELETE", "/api/handles/{id}", ADMIN, "handle.revoke", handles.revoke),
)


@dataclass(frozen=True, slots=True)
class Match:
    """What a path leads to: its pattern, one endpoint per method, and the values of the names in the pattern."""

    path: str
    endpoints: Mapping[str, Endpoint]
    names: Mapping[str, str]


class Table:
    """Finds the endpoints of a path, by aiohttp's router. `%2F` in a name is part of the name."""

    def __init__(self, endpoints: tuple[Endpoint, ...] = ENDPOINTS) -> None:
        self._router = web.UrlDispatcher()
        self._rows: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            self._rows.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        # The router's own default leaves out names with braces.
        for path in self._rows:
            self._router.add_route("*", re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", path), _never_called)

    async def find(self, request: web.BaseRequest) -> Match | None:
        """Return what is at a request's path, or None. A fixed path comes before one with a name in its place."""
        found = await self._router.resolve(cast(web.Request, request))  # it looks at the path and the method only
        resource = found.route.resource
        if resource is None:
            return None
        return Match(resource.canonical, self._rows[resource.canonical], dict(found))


async def _never_called(_: web.Request) -> web.StreamResponse:
    """A placeholder: aiohttp's router requires a handler, and ours take an ApiRequest."""
    raise AssertionError
