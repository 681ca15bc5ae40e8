"""A policy that was read becomes a Policy that requests meet: the guards, and their order, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from sidecar.errors import Problems
from sidecar.events import about
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, Guard, HeaderWriter, Step, WaitingGuard
from sidecar.guards.clients.address import AddressGuard, build_address
from sidecar.guards.clients.bans import BanGuard
from sidecar.guards.clients.concurrency import ConcurrencyGuard
from sidecar.guards.clients.request_id import RequestIdGuard
from sidecar.guards.host import build_host
from sidecar.guards.https import HttpsGuard
from sidecar.guards.limits.body_rate_limit import HeadRateLimits
from sidecar.guards.limits.rate_limit import RateLimitGuard, RateLimitHeaderWriter, build_rate_limit
from sidecar.guards.local_endpoints import CspReports, RateLimitStatus, Unmatched
from sidecar.guards.organization import OrganizationGuard, build_organization
from sidecar.guards.origins.cors import CorsGuard, build_cors
from sidecar.guards.origins.fetch_metadata import FetchMetadataGuard
from sidecar.guards.response_headers.security_headers import LEAKS, build_security_headers
from sidecar.guards.response_headers.set_cookie import harden_set_cookie
from sidecar.limit import Limit, Per
from sidecar.messages.websocket_messages import WebSocketMessageGuard
from sidecar.policy.backend_target import build_target
from sidecar.policy.body_steps import BodyStepBuilder
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.egress import Shared, build_egress
from sidecar.policy.policy import HOP_BY_HOP, BackendTarget, Injection, Policy, RequestBounds, Route
from sidecar.policy.routes import Pattern, RouteTable
from sidecar.policy.schema.browser_headers import SecurityHeaders as SecurityHeadersSchema
from sidecar.policy.schema.limits_and_sessions import RateLimit as RateLimitSchema
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route as RouteSchema
from sidecar.policy.services import Services
from sidecar.policy.session_steps import NOTHING, RouteLimits, RouteSessions, SessionRules, route_limits
from sidecar.redaction.filters import build_redaction
from sidecar.responses.filters import KnownSecretsSource, ResponseObserver, RouteResponseFilters
from sidecar.responses.token_usage import TokenUsage
from sidecar.vocabulary import Code, Outcome

UNMATCHED: Final = "unmatched"
MALFORMED: Final = "malformed"
CSP_REPORTS: Final = "/.sidecar/csp-report"

_OURS: Final = frozenset({b"x-request-id", b"x-sidecar-sanitized"})
"""What only the sidecar says, besides what its header_writers own."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """One policy, ready: what the listeners read, and what it was made of."""

    document: PolicyDocument
    public: Policy
    egress: Policy
    limits: tuple[Limit, ...]
    address: AddressGuard

    @property
    def schema(self) -> PolicySchema:
        return self.document.schema

    @property
    def digest(self) -> str:
        return self.document.short_digest

    def adopt(self, services: Services) -> None:
        """Tell the stores the rules of a policy that is in force from now on."""
        ban = self.schema.clients.ban
        if ban is not None:
            services.bans.rule(ban.strikes, ban.within, ban.length)

    def targets(self) -> set[BackendTarget]:
        """Return every server that requests may go to."""
        return {route.target for policy in (self.public, self.egress) for route in policy.routes.rows()}


def compile_policy(document: PolicyDocument, services: Services) -> Compiled:
    """Build every part of a policy, or raise PolicyError with every problem that any part found."""
    problems = Problems()
    build = _Build(document.schema, services, problems)
    public = build.public(document.short_digest)
    egress = build.egress(document.short_digest)
    document.refuse(problems.found)
    return Compiled(document, public, egress, tuple(build.limits), build.address)


@dataclass(frozen=True, slots=True)
class Answered:
    """What the answers of a route carry: which security headers, and the state of which limits."""

    headers: SecurityHeadersSchema
    limits: RateLimitGuard


class _Build:
    """The parts of one policy while it is built. Each method builds one; what is wrong is collected."""

    def __init__(self, schema: PolicySchema, services: Services, problems: Problems) -> None:
        self._schema = schema
        self._services = services
        self._problems = problems
        self._keys = KnownSecretsSource(services.secrets)
        self.limits: list[Limit] = []
        self._global_limits = self._limits(schema.rate_limits)
        self._target = self._backend()
        self.address = self._address_guard()
        self._cors = self._cors_guard()
        self._bans = BanGuard(services.bans) if schema.clients.ban is not None else None
        self._organization = self._organization_guard()
        self._concurrency = self._concurrency_guard()
        self._inspection = BodyStepBuilder(schema, services, problems, self._enforced)
        self._sessions = SessionRules(
            schema, services.sessions, services.events, problems, random=services.random, ended=services.ended
        )

    # --- the whole -----------------------------------------------------------------------------

    def public(self, digest: str) -> Policy:
        schema = self._schema
        rows = [*self._own_routes(), *(self._row(number, route) for number, route in enumerate(schema.routes))]
        table: RouteTable[Route]
        known: RouteTable[Route] = RouteTable(rows, rows[0][1] if rows else self._plain(UNMATCHED, ()))
        last = (Step(Unmatched(known.methods)),) if schema.unmatched == "deny" else ()
        table = RouteTable(rows, self._plain(UNMATCHED, last))
        return Policy(
            digest=digest,
            bounds=self._bounds(),
            routes=table,
            malformed=self._malformed(),
            struck=self._struck if self._bans is not None and self._enforced("ban") else None,
        )

    def egress(self, digest: str) -> Policy:
        """Build the other listener's policy, also while it is off: a reload does not stop a listener that runs."""
        schema, services, place = self._schema, self._services, self._problems.at("egress")
        limits = build_rate_limit(
            self._limits(schema.egress.rate_limits), services.rates, place.at("rate_limits"), waits=services.waits
        )
        shared = Shared(
            events=services.events,
            handles=services.handles,
            tokens=services.tokens,
            keys=self._keys,
            bounds=self._bounds(),
            limits=limits,
            enforce=self._enforced("rate_limits"),
            nowhere=self._target,
        )
        return build_egress(schema, shared, digest, place)

    def _malformed(self) -> Route:
        steps = [Step(self.address), *([Step(self._bans)] if self._bans is not None and self._enforced("ban") else [])]
        return self._route(MALFORMED, tuple(steps), Answered(self._schema.security_headers, self._limit_guard(())))

    def _own_routes(self) -> list[tuple[Pattern, Route]]:
        """The paths that are answered here come first: a route of the operator's cannot take them by accident."""
        paths = self._schema.listen.public.paths
        rows = []
        guard = self._limit_guard(())
        if paths.rate_limit_status:
            own = RateLimitStatus(guard)
            steps = (
                *self._gate(None, limits=None, sessions=self._session(None)),
                Step(cast(Guard, own), waits=own.waits),
            )
            answered = Answered(self._schema.security_headers, guard)
            rows.append(
                (
                    Pattern(paths.rate_limit_status),
                    self._route("rate-limit-status", steps, answered),
                )
            )
        ids, begins = self._sessions.endpoint()
        if paths.session and begins:
            steps = (*self._gate(None, limits=guard, sessions=ids), *begins)
            answered = Answered(self._schema.security_headers, guard)
            rows.append((Pattern(paths.session), self._route("session", steps, answered)))
        if self._schema.security_headers.report_only:
            steps = (*self._gate(None, limits=guard), Step(CspReports(self._services.reports)))
            answered = Answered(self._schema.security_headers, guard)
            rows.append((Pattern(CSP_REPORTS), self._route("csp-report", steps, answered)))
        return rows

    def _plain(self, name: str, last: tuple[Step, ...]) -> Route:
        """A route with the global guards and nothing else."""
        guard = self._limit_guard(())
        answered = Answered(self._schema.security_headers, guard)
        sessions = self._session(None)
        steps = (*self._gate(None, limits=guard, sessions=sessions), *last)
        return self._route(
            name, steps, answered, body_steps=sessions.body, filters=self._filters(None, sessions.watchers)
        )

    def _row(self, number: int, route: RouteSchema) -> tuple[Pattern, Route]:
        place = self._problems.at(f"routes[{number}]")
        guard = self._limit_guard(self._limits(route.rate_limits), place.at("rate_limits"))
        sessions = self._session(route)
        limits = route_limits(
            guard, self._services.rates, in_body=sessions.in_body, enforce=self._enforced("rate_limits", route)
        )
        body_steps, frames = self._inspection.of(route, place, (*sessions.body[:1], *limits.body, *sessions.body[1:]))
        credential = route.credential
        built = self._route(
            route.name,
            self._gate(route, limits=limits.head, sessions=sessions, late=limits),
            Answered(route.security_headers or self._schema.security_headers, guard),
            body_steps=body_steps,
            frames=frames,
            protocol=route.protocol,
            inspected=route.message is not None,
            max_body=route.max_body,
            injection=Injection(
                credential.provider, credential.form, self._schema.egress.handle_ttl, credential.name or ""
            )
            if credential
            else None,
            filters=self._filters(route, sessions.watchers),
        )
        return Pattern(route.match.path, frozenset(route.match.methods)), built

    def _route(
        self,
        name: str,
        steps: tuple[Step, ...],
        answered: Answered,
        *,
        body_steps: tuple[BodyStep, ...] = (),
        frames: WebSocketMessageGuard | None = None,
        protocol: str = "plain",
        inspected: bool = False,
        max_body: int | None = None,
        injection: Injection | None = None,
        filters: RouteResponseFilters | None = None,
    ) -> Route:
        header_writers = self._stamps(answered)
        return Route(
            name=name,
            target=self._target,
            steps=steps,
            header_writers=header_writers,
            removed=HOP_BY_HOP.union(LEAKS, *(header_writer.owns for header_writer in header_writers), _OURS),
            cookies=_hardened,
            max_body=self._schema.requests.max_body if max_body is None else max_body,
            body_steps=body_steps,
            protocol=protocol,
            inspected=inspected,
            injection=injection,
            filters=filters,
            frames=frames,
            peek=answered.limits.peek if self._services.waits else None,
        )

    # --- the guards of a request, in order -----------------------------------------------------

    def _gate(
        self,
        route: RouteSchema | None,
        limits: RateLimitGuard | HeadRateLimits | None,
        sessions: RouteSessions = NOTHING,
        late: RouteLimits | None = None,
    ) -> tuple[Step, ...]:
        """Cheap before dear, who before what; what the client is told last is what it could not know."""
        schema = self._schema
        steps = [self._step(self.address, "address", route)]
        if schema.clients.trusted_proxies:
            steps.append(Step(RequestIdGuard()))
        if self._bans is not None:
            steps.append(self._step(self._bans, "ban", route))
        # This early, so that a refusal too tells the counters of the right organization.
        steps.append(Step(self._organization))
        host = build_host(schema.requests.hosts, Problems())
        if host is not None:
            steps.append(self._step(host, "host", route))
        if schema.requests.https_only and self._enforced("https", route):
            steps.append(Step(HttpsGuard()))
        steps.append(self._step(self._cors, "cors", route))
        steps.append(self._step(FetchMetadataGuard(), "fetch_metadata", route))
        if self._concurrency is not None:
            steps.append(self._step(self._concurrency, "concurrency", route))
        steps.extend(sessions.head)
        if limits is not None and limits.limits:
            steps.append(self._step(cast(Guard, limits), "rate_limits", route, waits=limits.waits))
        if late is not None:
            steps.extend(late.after)
        steps.extend(sessions.after)
        return tuple(steps)

    def _session(self, route: RouteSchema | None) -> RouteSessions:
        return self._sessions.for_route(route, lambda name: self._enforced(name, route))

    def _step(self, guard: Guard | WaitingGuard, name: str, route: RouteSchema | None, *, waits: bool = False) -> Step:
        return Step(guard, self._enforced(name, route), waits)

    def _enforced(self, name: str, route: RouteSchema | None = None) -> bool:
        """Say whether a guard refuses, or only observes: the route's word counts before the policy's."""
        schema = self._schema
        mode = route.mode if route is not None and route.mode is not None else schema.mode
        observed = name in schema.observe or (route is not None and name in route.observe)
        return mode == "enforce" and not observed

    # --- one part each -------------------------------------------------------------------------

    def _backend(self) -> BackendTarget:
        backend = self._schema.backend
        return build_target(
            backend.url,
            backend.tls,
            backend.timeouts,
            self._problems.at("backend"),
            preserve_host=backend.preserve_host,
            max_connections=backend.max_connections,
        )

    def _address_guard(self) -> AddressGuard:
        clients = self._schema.clients
        return build_address(
            clients.trusted_proxies, clients.ipv6_prefix, clients.allow, clients.deny, self._problems.at("clients")
        )

    def _cors_guard(self) -> CorsGuard:
        cors = self._schema.cors
        return build_cors(
            cors.allowed_origins,
            cors.allowed_methods,
            cors.allowed_headers,
            cors.exposed_headers,
            cors.allow_credentials,
            cors.max_age,
            cors.dangerously_allow_insecure_origins,
            self._problems.at("cors"),
            observe=not self._enforced("cors"),
        )

    def _organization_guard(self) -> OrganizationGuard:
        section = self._schema.organizations
        problems = self._problems.at("organizations")
        return build_organization(
            section.sources, section.hosts, section.default, problems, verify=self._services.verify
        )

    def _concurrency_guard(self) -> ConcurrencyGuard | None:
        limit = self._schema.requests.concurrent_per_client
        if limit is None:
            return None
        return ConcurrencyGuard(limit, self._services.open_requests)

    def _limits(self, section: Sequence[RateLimitSchema]) -> tuple[Limit, ...]:
        made = tuple(Limit(each.name, Per(each.per), each.limit, each.window) for each in section)
        self.limits.extend(made)
        return made

    def _limit_guard(self, own: tuple[Limit, ...], problems: Problems | None = None) -> RateLimitGuard:
        return build_rate_limit(
            (*self._global_limits, *own), self._services.rates, problems or Problems(), waits=self._services.waits
        )

    def _stamps(self, answered: Answered) -> tuple[HeaderWriter, ...]:
        headers = answered.headers
        security = build_security_headers(
            headers.preset,
            headers.overrides(),
            self._problems.at("security_headers"),
            report_only=headers.report_only,
            report_path=CSP_REPORTS if headers.report_only else "",
            embedders=self._schema.cors.allowed_origins,
        )
        return (self._cors.header_writer, security, RateLimitHeaderWriter(answered.limits))

    def _filters(
        self, route: RouteSchema | None, learners: tuple[ResponseObserver, ...]
    ) -> RouteResponseFilters | None:
        section = (route.redaction if route is not None else None) or self._schema.redaction
        problems = self._problems.at("redaction.patterns")
        redaction = build_redaction(None, section.patterns, problems)
        keys = self._keys if section.known_secrets else None
        watchers = (*learners, *self._watchers(route))
        if keys is None and not section.patterns and not watchers:
            return None
        return RouteResponseFilters(
            redaction, keys, watchers, self._services.events, enforce=self._enforced("redaction", route)
        )

    def _watchers(self, route: RouteSchema | None) -> tuple[ResponseObserver, ...]:
        credential = route.credential if route is not None else None
        if credential is None or credential.form != "header":
            return ()  # calls with a handle are counted where they leave, once
        return (TokenUsage(credential.provider, self._services.tokens),)

    def _bounds(self) -> RequestBounds:
        requests, socket = self._schema.requests, self._schema.websocket
        return RequestBounds(
            max_header_bytes=requests.max_header_bytes,
            max_fields=requests.max_headers,
            max_target=requests.max_target,
            header_timeout=requests.header_timeout,
            body_timeout=requests.body_timeout,
            min_body_rate=requests.min_body_rate,
            idle_timeout=requests.idle_timeout,
            max_connections=requests.max_connections,
            max_socket_message=socket.max_message,
            socket_idle=socket.idle,
            socket_rate=socket.messages_per_minute or 0,
        )

    # --- what a refusal sets off ---------------------------------------------------------------

    def _struck(self, exchange: Exchange, code: Code) -> None:
        assert self._bans is not None
        finding = self._bans.struck(exchange, code)
        if finding is not None:
            event = about(exchange, finding.event, Outcome.REFUSED, exchange.now, 0, finding.detail)
            self._services.events.record(event)


def _hardened(value: bytes, secure: bool) -> bytes | None:
    return harden_set_cookie(value, secure=secure)
