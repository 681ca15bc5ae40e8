"""The table of the admin API: every operation with the role that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from sidecar.admin import audit, bans, credentials, erasure, events, handles, limits, policy
from sidecar.admin.api_request import Endpoint
from sidecar.admin.roles import Role

VIEWER, OPERATOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN

ENDPOINTS: Final = (
    Endpoint("GET", "/api/rate-limit/status", VIEWER, "rate_limit.status", limits.overview, recorded=False),
    Endpoint("GET", "/api/rate-limit/admin/status/{type}/{key}", VIEWER, "rate_limit.look", limits.status),
    Endpoint("POST", "/api/rate-limit/reset", OPERATOR, "rate_limit.reset", limits.reset),
    Endpoint("GET", "/api/bans", VIEWER, "ban.list", bans.list_all, recorded=False),
    Endpoint("POST", "/api/bans", OPERATOR, "ban.add", bans.add),
    Endpoint("DELETE", "/api/bans", OPERATOR, "ban.lift", bans.lift),
    Endpoint("DELETE", "/api/bans/{ip}", OPERATOR, "ban.lift", bans.lift),
    Endpoint("GET", "/api/events", VIEWER, "event.list", events.recent, recorded=False),
    Endpoint("GET", "/api/audit", VIEWER, "audit.list", audit.recent),
    Endpoint("GET", "/api/policy", VIEWER, "policy.show", policy.show, recorded=False),
    Endpoint("POST", "/api/explain", VIEWER, "policy.explain", policy.explain),
    Endpoint("DELETE", "/api/subjects/{type}/{id}", ADMIN, "subject.erase", erasure.erase),
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
    """What a path leads to: the pattern that it meets, and one endpoint per method."""

    path: str
    endpoints: Mapping[str, Endpoint]
    names: Mapping[str, str]


class Table:
    """Finds the endpoints of a path. Segments are decoded one by one, so that `%2F` stays within its own."""

    def __init__(self, endpoints: tuple[Endpoint, ...] = ENDPOINTS) -> None:
        rows: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            rows.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        self._rows = [(path, _pattern(path), methods) for path, methods in rows.items()]

    def find(self, raw_path: str) -> Match | None:
        """Return what stands at a path, or None. A fixed path comes before one with a name in its place."""
        found = list(self._matches(raw_path))
        return min(found, key=lambda match: len(match.names)) if found else None

    def _matches(self, raw_path: str) -> Iterator[Match]:
        for path, pattern, methods in self._rows:
            met = pattern.fullmatch(raw_path)
            if met is not None:
                yield Match(
                    path, methods, {name: unquote(text, errors="replace") for name, text in met.groupdict().items()}
                )


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]{1,1024})", re.escape(path)))
