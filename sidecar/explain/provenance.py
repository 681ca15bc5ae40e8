"""Which key of a policy caused a guard's decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sidecar.decision import Detail
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.schema.policy_schema import PolicySchema

FIXED: Final[Mapping[str, str]] = {
    "request_id": "clients.trusted_proxies",
    "bans": "clients.ban",
    "maintenance": "maintenance",
    "host": "requests.hosts",
    "https": "requests.https_only",
    "user_agent": "requests.denied_user_agents",
    "cors": "cors.allowed_origins",
    "fetch_metadata": "cors.allowed_origins",
    "concurrency": "requests.concurrent_per_client",
    "organization": "organizations",
    "session_id": "sessions.in",
    "rate_limit_status": "listen.public.paths.rate_limit_status",
    "csp_reports": "listen.public.paths.csp_reports",
    "session_path": "listen.public.paths.session",
    "unmatched": "unmatched",
    "moderation": "content_filter.moderation",
    "ownership": "ownership.mode",
    "provider_limit": "egress.providers",
}
"""Guards whose every decision comes from one key."""

OBSERVED_AS: Final[Mapping[str, str]] = {"bans": "ban", "session_id": "session", "moderation": "content_filter"}
"""Guards whose name under `observe` is another one."""

DENIED: Final = {"deny": "clients.deny", "not on the allow list": "clients.allow"}
TOO_LARGE: Final = {"head": "max_header_bytes", "too many fields": "max_headers", "target": "max_target"}


class Provenance:
    """Names keys of one policy; `route` is the name of the route that a request takes."""

    def __init__(self, document: PolicyDocument, route: str) -> None:
        self._document = document
        self.schema: PolicySchema = document.schema
        number = next((number for number, each in enumerate(self.schema.routes) if each.name == route), -1)
        self.route = self.schema.routes[number] if number >= 0 else None
        self.route_key = f"routes[{number}]" if number >= 0 else ""

    def key(self, guard: str, detail: Detail) -> str:
        """Return the key's path; "" when a guard answers to no key."""
        if guard.startswith("guards."):
            return guard  # of another program: its section of the policy
        if guard.startswith("guardrails."):
            return f"guardrails{_index(self.schema.guardrails, guard.partition('.')[2])}"
        special = SPECIAL.get(guard)
        return special(self, detail) if special is not None else FIXED.get(guard, "")

    def observing(self, guard: str) -> str:
        """Return the key that made a guard observe."""
        name = OBSERVED_AS.get(guard, guard)
        if self.route is not None and name in self.route.observe:
            return f"{self.route_key}.observe"
        if self.route is not None and self.route.mode == "observe":
            return f"{self.route_key}.mode"
        if name == "ownership" and self.schema.ownership.mode == "observe":
            return "ownership.mode"
        return "observe" if name in self.schema.observe else "mode"

    def place(self, key: str) -> str:
        """Return `file:line`, `environment:NAME` or `default`; "" for no key."""
        return self._document.origin(key) if key else ""

    def own(self, key: str, otherwise: str) -> str:
        """Return a key of the route where it is written, else the policy's."""
        own = f"{self.route_key}.{key}"
        return own if self.route_key and self._document.document.holds(own) else otherwise


def _request(_: Provenance, detail: Detail) -> str:
    said = str(detail.get("reason", ""))
    return f"requests.{TOO_LARGE[said]}" if said in TOO_LARGE else ""


def _body(reasons: Provenance, _: Detail) -> str:
    return reasons.own("max_body", "requests.max_body")


def _address(_: Provenance, detail: Detail) -> str:
    return DENIED.get(str(detail.get("reason", "")), "clients")


def _session(reasons: Provenance, detail: Detail) -> str:
    return "sessions.bind_to" if detail.get("reason") == "network" else reasons.own("session", "sessions.mode")


def _limits(reasons: Provenance, detail: Detail) -> str:
    name = detail.get("limit")
    found = _index(reasons.route.rate_limits or (), name) if reasons.route is not None else ""
    if found:
        return f"{reasons.route_key}.rate_limits{found}.limit"
    found = _index(reasons.schema.rate_limits, name)
    return f"rate_limits{found}.limit" if found else reasons.own("rate_limits", "rate_limits")


def _message(reasons: Provenance, detail: Detail) -> str:
    key = f"{reasons.route_key}.message"
    if "characters" in detail:
        return f"{key}.max_chars"
    return f"{key}.markup" if detail.get("reason") == "markup" else key


def _content(reasons: Provenance, detail: Detail) -> str:
    return f"content_filter.patterns{_index(reasons.schema.content_filter.patterns, detail.get('pattern'))}"


def _budget(reasons: Provenance, detail: Detail) -> str:
    if detail.get("reason") == "no price":
        return "prices"
    return f"budgets{_index(reasons.schema.budgets, detail.get('budget'))}"


def _credential(reasons: Provenance, _: Detail) -> str:
    return f"{reasons.route_key}.credential"


SPECIAL: Final[Mapping[str, Callable[[Provenance, Detail], str]]] = {
    "request": _request,
    "body": _body,
    "address": _address,
    "session": _session,
    "rate_limits": _limits,
    "message": _message,
    "content_filter": _content,
    "credential": _credential,
    "budgets": _budget,
}
"""Guards whose decisions come from several keys."""


def _index(named: Sequence[Any], name: object) -> str:
    """Return `[2]` for the third that has this name, "" for none."""
    return next((f"[{number}]" for number, each in enumerate(named) if each.name == name), "")
