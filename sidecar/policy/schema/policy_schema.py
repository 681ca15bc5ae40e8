"""The policy as an operator writes it: every section, every key, every default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.anomalies import Anomalies
from sidecar.policy.schema.backend import Backend, BackendServer
from sidecar.policy.schema.base_model import Many, Read, Section, refuse
from sidecar.policy.schema.browser_headers import Cookies, Cors, SecurityHeaders
from sidecar.policy.schema.budgets import BudgetSection, PriceSection
from sidecar.policy.schema.clients import Clients
from sidecar.policy.schema.content import Answers, ContentFilter, Events, MessageDefaults, Redaction
from sidecar.policy.schema.credentials import Egress, Provider, Tokens
from sidecar.policy.schema.custom_guards import CustomGuard, Guardrail
from sidecar.policy.schema.limits_and_sessions import DEFAULT_LIMITS, Organizations, Ownership, RateLimit, Sessions
from sidecar.policy.schema.listeners import Listen, Ready
from sidecar.policy.schema.quantities import FLAG
from sidecar.policy.schema.requests import Maintenance, Requests, WebSocket
from sidecar.policy.schema.route import GuardName, Route
from sidecar.policy.schema.stores import Stores


def _version(value: object) -> int:
    if value != 1 or isinstance(value, bool | float):
        refuse("is not a version of the policy that is known here", "write version: 1")
    return 1


class PolicySchema(Section):
    """One policy file, valid in itself. `document/cross_checks.py` checks its parts against one another."""

    version: Annotated[int, Read(_version, {"const": 1})] = Field(
        description="the version of this format", examples=[1]
    )
    mode: Literal["enforce", "observe"] = Field(
        default="enforce", description="observe: log and count what would be done, refuse nothing"
    )
    observe: Many[GuardName] = Field(default=(), description="guards that only observe")
    suggestions: Annotated[bool, FLAG] = Field(
        default=True,
        description="in mode observe: note where requests hold text, without the text, for `sidecar suggest`",
    )
    unmatched: Literal["proxy", "deny"] = Field(
        default="proxy",
        description="requests that no route matches: proxied under the global guards, or answered with 404",
    )
    listen: Listen = Field(default_factory=Listen, description="addresses; a change needs a restart")
    backend: Backend = Field(description="the chat backend", examples=["{ url: http://127.0.0.1:3001 }"])
    backends: dict[Annotated[str, strings.NAME], BackendServer] = Field(
        default_factory=dict, description="further servers by name, for routes that say `backend:`"
    )
    ready: Ready = Field(default_factory=Ready, description="what readiness includes besides this process")
    maintenance: Maintenance | None = Field(
        default=None, description="refuse every request with 503 and a message; null: off"
    )
    clients: Clients = Field(default_factory=Clients, description="what identifies a client, and which are refused")
    requests: Requests = Field(default_factory=Requests, description="bounds of a request")
    websocket: WebSocket = Field(default_factory=WebSocket, description="bounds of a WebSocket connection")
    cors: Cors = Field(default_factory=Cors, description="which pages of other origins may talk to the backend")
    security_headers: SecurityHeaders = Field(default_factory=SecurityHeaders, description="headers that confine pages")
    cookies: Cookies = Field(default_factory=Cookies, description="cookies that the backend sets")
    organizations: Organizations = Field(
        default_factory=Organizations, description="whose limits and keys a request uses"
    )
    rate_limits: Many[RateLimit] = Field(default=DEFAULT_LIMITS, description="limits of every request; [] for none")
    budgets: Many[BudgetSection] = Field(default=(), description="budgets of tokens and money; [] for none")
    prices: dict[Annotated[str, strings.MODEL], PriceSection] = Field(
        default_factory=dict,
        description="what models cost, over the list that `sidecar prices` prints; `*`: every model without a price",
        examples=[{"gpt-4o-mini": {"input": 0.15, "output": 0.6}}],
    )
    sessions: Sessions = Field(default_factory=Sessions, description="sessions of browsers")
    ownership: Ownership = Field(default_factory=Ownership, description="which session a conversation belongs to")
    content_filter: ContentFilter = Field(default_factory=ContentFilter, description="texts that are refused")
    guards: dict[Annotated[str, strings.NAME], CustomGuard] = Field(
        default_factory=dict,
        description="guards of packages that are installed (`sidecar guards`), asked in this order",
    )
    guardrails: Many[Guardrail] = Field(
        default=(), description="services that are asked about messages and answers over HTTP, in this order"
    )
    message: MessageDefaults = Field(
        default_factory=MessageDefaults, description="defaults of the `message` of each route"
    )
    routes: Many[Route] = Field(default=(), description="what is special about some requests; first match wins")
    providers: dict[Annotated[str, strings.PROVIDER], Provider] = Field(
        default_factory=dict, description="providers that the catalogue does not know"
    )
    egress: Egress = Field(default_factory=Egress, description="provider calls of the backend")
    redaction: Redaction = Field(default_factory=Redaction, description="what is replaced in answers")
    answers: Answers = Field(default_factory=Answers, description="what answers may show")
    stores: Stores = Field(default_factory=Stores, description="where windows, bans and sessions live")
    events: Events = Field(default_factory=Events, description="where facts are written")
    anomalies: Anomalies | None = Field(
        default=None, description="look for usage that is unlike what it was; null: off, {} for the defaults"
    )
    admin: Tokens = Field(default_factory=Tokens, description="tokens of the admin API")
    api_auth: Tokens = Field(
        default_factory=Tokens, description="tokens of the public side: `org` names the organization, `sub` the user"
    )

    def enforces(self, guard: str, route: Route | None = None) -> bool:
        """Return whether a guard refuses (True) or only observes; a route's setting overrides the policy's."""
        mode = route.mode if route is not None and route.mode is not None else self.mode
        observed = guard in self.observe or (route is not None and guard in route.observe)
        return mode == "enforce" and not observed
