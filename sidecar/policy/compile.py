"""Compiles a checked policy: each feature builds its guards, and this file puts them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import sidecar.guards.budgets.build as budgets
import sidecar.guards.build as request_guards
import sidecar.guards.clients.build as client_guards
import sidecar.guards.limits.build as rate_limits
import sidecar.guards.origins.build as origin_guards
import sidecar.guards.response_headers.build as response_headers
import sidecar.guards.sessions.build as session_guards
import sidecar.messages.build as message_guards
import sidecar.responses.build as responses
import sidecar.suggest.build as suggest
from sidecar.decision import Refuse
from sidecar.errors import Problems
from sidecar.events import about
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, Enforced, Guard, HeaderWriter, Step
from sidecar.guards.clients.address import AddressGuard
from sidecar.guards.limits.build import RouteLimits
from sidecar.guards.limits.rate_limit import RateLimitHeaderWriter
from sidecar.guards.local_endpoints import CspReports, RateLimitStatus, Unmatched
from sidecar.guards.response_headers.csp_reports import MAX_BODY
from sidecar.guards.response_headers.security_headers import LEAKS
from sidecar.guards.sessions.build import NOTHING, RouteSessions
from sidecar.guards.sessions.session_and_limits import asked_together, asked_together_in_body
from sidecar.head import HOP_BY_HOP, varying_fields
from sidecar.limit import Limit, LimitReport
from sidecar.policy import custom_guards
from sidecar.policy.backend_target import backend_urls, build_target, with_timeouts
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.egress import Shared, build_egress
from sidecar.policy.kinds.coverage import UncoveredOperationGuard, uncovered
from sidecar.policy.policy import BackendTarget, Injection, Policy, RequestBounds, Route
from sidecar.policy.routes import Pattern, RouteTable
from sidecar.policy.schema.backend import BackendServer
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route as RouteSchema
from sidecar.services import Services
from sidecar.vocabulary import Outcome

UNMATCHED: Final = "unmatched"
MALFORMED: Final = "malformed"

_OURS: Final = frozenset({b"x-request-id", b"x-sidecar-sanitized"})
"""Response headers that only the sidecar sets, besides those of its header writers."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """One policy, ready: what the listeners read, and what it was made of."""

    document: PolicyDocument
    public: Policy
    egress: Policy
    limits: tuple[Limit, ...]
    address: AddressGuard
    backend: BackendTarget

    @property
    def schema(self) -> PolicySchema:
        """The checked values that the policy was compiled from."""
        return self.document.schema

    @property
    def digest(self) -> str:
        """The short digest of the document, as events and `/readyz` show it."""
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
    compiler = _Compiler(document, services, problems)
    public = compiler.public(document.short_digest)
    egress = compiler.egress(document.short_digest)
    document.refuse(problems.found)
    limits = tuple(dict.fromkeys(compiler.limits.declared))
    return Compiled(document, public, egress, limits, compiler.clients.address, compiler.target)


class _Compiler:
    """The features of one policy, built once, and the order in which requests and responses meet them."""

    def __init__(self, document: PolicyDocument, services: Services, problems: Problems) -> None:
        self._schema = schema = document.schema
        self._document = document
        self._services = services
        self._problems = problems
        self.clients = client_guards.build(schema, services, problems)
        self._requests = request_guards.build(schema, services, problems)
        self._origins = origin_guards.build(schema, services, problems)
        self._sessions = session_guards.build(schema, services, problems)
        self._custom = custom_guards.build(schema, problems)
        self.limits = rate_limits.build(schema, services, problems)
        self._budgets = budgets.build(schema, services)
        self._messages = message_guards.build(schema, services, problems)
        self._headers = response_headers.build(schema, services, problems)
        self._responses = responses.build(schema, services, problems, self._budgets.prices)
        self._observer = suggest.build(self._schema, services)
        self.target = self._server(schema.backend, problems.at("backend"))
        unread = uncovered(schema)
        self._uncovered = UncoveredOperationGuard(unread) if unread else None
        self._servers = {
            name: self._server(one, problems.at(f"backends.{name}")) for name, one in schema.backends.items()
        }

    # --- the order of guards -------------------------------------------------------------------

    def _head_steps(self, route: RouteSchema | None, sessions: RouteSessions, limits: RouteLimits) -> tuple[Step, ...]:
        """Return the guards of a request's head, in order: the cheap ones first, then what needs a store.

        A new guard of the head is one line here. The organization is known before anything can refuse,
        so that a refusal reports the limits of the right organization.
        """
        enforced = self._enforced(route)
        guards: tuple[tuple[str, Guard | None], ...] = (
            ("address", self.clients.address),
            ("request_id", self.clients.request_id),
            ("ban", self.clients.bans),
            ("organization", self._requests.organization),
            ("maintenance", self._requests.maintenance),
            ("host", self._requests.host),
            ("https", self._requests.https if enforced("https") else None),
            ("user_agent", self._requests.user_agent),
            ("cors", self._origins.cors),
            ("fetch_metadata", self._origins.fetch_metadata),
            ("concurrency", self.clients.concurrency),
        )
        steps = [Step(guard, enforced(name)) for name, guard in guards if guard is not None]
        unread = () if self._uncovered is None or (route is not None and route.message) else (Step(self._uncovered),)
        stored = asked_together(sessions.head, limits.head, self._services)
        return (*steps, *stored, *sessions.after, *unread, *self._custom.head(route))

    def _header_writers(self, route: RouteSchema | None, limits: RouteLimits) -> tuple[HeaderWriter, ...]:
        """Return what writes the headers of every response of a route, refusals included, in order."""
        section = route.security_headers if route is not None else None
        mode = route.mode if route is not None and route.mode is not None else self._schema.mode
        security = self._headers.of(section, observe=mode == "observe")
        return (self._origins.cors.header_writer, security, RateLimitHeaderWriter(limits.guard))

    # --- routes --------------------------------------------------------------------------------

    def public(self, digest: str) -> Policy:
        """Return the policy of the public listener."""
        rows = [*self._own_routes(), *(self._row(number, route) for number, route in enumerate(self._schema.routes))]
        unmatched = self._route(UNMATCHED, self._plain_steps())
        known = RouteTable(rows, unmatched)
        if self._schema.unmatched == "deny":
            unmatched = self._route(UNMATCHED, self._plain_steps(Step(Unmatched(known.methods))))
        bans = self.clients.bans if self._enforced(None)("ban") else None
        refused_first = (self.clients.address, bans)
        malformed = self._route(MALFORMED, tuple(Step(guard) for guard in refused_first if guard is not None))
        return Policy(
            digest=digest,
            bounds=self._bounds(),
            routes=RouteTable(rows, unmatched),
            malformed=malformed,
            identity=self.clients.identity,
            struck=self._struck if bans is not None else None,
            varying=varying_fields(self._sessions.fields),
        )

    def egress(self, digest: str) -> Policy:
        """Return the policy of the egress listener, also while it is off: a reload does not stop a running listener."""
        schema, services = self._schema, self._services
        shared = Shared(
            events=services.events,
            handles=services.handles,
            counter=self._responses.counter,
            budgets=self._budgets,
            ledger=services.budgets,
            provider_limits=services.provider_limits,
            clock=services.clock,
            keys=self._responses.known_secrets,
            bounds=self._bounds(),
            limits=self.limits.egress,
            enforce=schema.enforces("rate_limits"),
            enforce_budgets=schema.enforces("budgets"),
            nowhere=self.target,
        )
        return build_egress(schema, shared, digest, self._problems.at("egress"))

    def _own_routes(self) -> list[tuple[Pattern, Route]]:
        """Return the paths that are answered here. They come first: a route of the operator cannot take one."""
        paths = self._schema.listen.public.paths
        unlimited = RouteLimits(self.limits.policy)
        rows = []
        if paths.rate_limit_status:
            own = RateLimitStatus(self.limits.policy)
            sessions = replace(self._sessions.for_route(None, self._enforced(None)), after=())
            steps = (*self._head_steps(None, sessions, unlimited), Step(own))
            rows.append((Pattern(paths.rate_limit_status), self._route("rate-limit-status", steps)))
        ids, begins = self._sessions.endpoint()
        if paths.session and begins:
            steps = (*self._head_steps(None, ids, self._default_limits()), *begins)
            rows.append((Pattern(paths.session), self._route("session", steps)))
        if self._headers.report_path is not None:
            limits = self.limits.for_reports(self._enforced(None))
            steps = (*self._head_steps(None, NOTHING, limits), Step(CspReports()))
            reads = (BodyStep(self._headers.report_guard(self._document.origin)),)
            reports = replace(self._route("csp-report", steps, limits=limits), body_steps=reads, max_body=MAX_BODY)
            rows.append((Pattern(self._headers.report_path), reports))
        return rows

    def _plain_steps(self, *last: Step) -> tuple[Step, ...]:
        """Return the steps of a request that no route matches."""
        sessions = self._sessions.for_route(None, self._enforced(None))
        return (*self._head_steps(None, sessions, self._default_limits()), *last)

    def _default_limits(self) -> RouteLimits:
        return self.limits.for_all(self._enforced(None))

    def _row(self, number: int, route: RouteSchema) -> tuple[Pattern, Route]:
        place, enforced = self._problems.at(f"routes[{number}]"), self._enforced(route)
        sessions = self._sessions.for_route(route, enforced)
        limits = self.limits.for_route(route, place.at("rate_limits"), enforced, in_body=sessions.in_body)
        built = self._route(
            route.name, self._head_steps(route, sessions, limits), route, sessions=sessions, limits=limits, place=place
        )
        return Pattern(route.match.path, frozenset(route.match.methods)), built

    def _route(
        self,
        name: str,
        steps: Sequence[Step],
        route: RouteSchema | None = None,
        *,
        sessions: RouteSessions | None = None,
        limits: RouteLimits | None = None,
        place: Problems | None = None,
    ) -> Route:
        """Build one row of the routing table; `route` None: a path that is answered here, or matches no route."""
        enforced = self._enforced(route)
        limits = limits if limits is not None else RouteLimits(self.limits.policy)
        if sessions is None:
            sessions = self._sessions.for_route(None, enforced) if name == UNMATCHED else NOTHING
        messages = self._messages.for_route(route, place if place is not None else self._problems, enforced)
        # The message's own guard comes first: the others need a body that was read.
        stored = asked_together_in_body(sessions.body[:1], limits.body, self._services)
        body_steps = (*messages.first, *stored, *sessions.body[1:], *messages.then)
        body_steps = (*body_steps, *self._custom.message(route, messages.reader))
        budget = self._budgets.for_route(route, enforced)
        if budget is not None:
            body_steps = (*body_steps, budget)  # last: a request that is refused has held nothing
        filters = observer = None
        if route is not None or name == UNMATCHED:
            observer = self._observer
            also = () if observer is None else (observer,)
            metered = budget is not None
            filters = self._responses.for_route(
                route,
                sessions,
                self._sessions,
                enforced,
                also,
                metered=metered,
                guardrails=self._messages.answer_guardrails(route, enforced),
            )
        if observer is not None:
            steps, body_steps = (*steps, Step(observer)), (BodyStep(observer), *body_steps)
        header_writers = self._header_writers(route, limits)
        target = self._target_of(route)
        return Route(
            name=name,
            target=target,
            steps=tuple(steps),
            header_writers=header_writers,
            removed=HOP_BY_HOP.union(LEAKS, *(writer.owns for writer in header_writers), _OURS),
            cookies=self._headers.cookies,
            max_body=self._max_body(route),
            body_steps=body_steps,
            protocol=route.protocol if route is not None else "plain",
            inspected=route is not None and route.message is not None,
            injection=self._injection(route),
            filters=filters,
            frames=messages.socket,
            observer=observer,
            socket_limits=limits.socket if messages.socket is not None else None,
            peek=limits.guard.peek if self._services.waits else None,
            urls=None if target.preserve_host else backend_urls(target),
        )

    def _injection(self, route: RouteSchema | None) -> Injection | None:
        credential = route.credential if route is not None else None
        if credential is None:
            return None
        ttl = self._schema.egress.handle_ttl
        return Injection(credential.provider, credential.form, ttl, credential.name or "")

    def _max_body(self, route: RouteSchema | None) -> int:
        own = route.max_body if route is not None else None
        return self._schema.requests.max_body if own is None else own

    # --- what all routes share -----------------------------------------------------------------

    def _enforced(self, route: RouteSchema | None) -> Enforced:
        return lambda guard: self._schema.enforces(guard, route)

    def _target_of(self, route: RouteSchema | None) -> BackendTarget:
        if route is None:
            return self.target
        # A name that is none is a problem that the document's own checks have told.
        return with_timeouts(self._servers.get(route.backend or "", self.target), route.timeouts)

    @staticmethod
    def _server(server: BackendServer, problems: Problems) -> BackendTarget:
        return build_target(
            server.url,
            server.tls,
            server.timeouts,
            problems,
            preserve_host=server.preserve_host,
            max_connections=server.max_connections,
        )

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

    def _struck(self, exchange: Exchange, refuse: Refuse, message: LimitReport | None = None) -> None:
        """Count a refusal towards a ban, and record the ban that it makes."""
        assert self.clients.bans is not None
        now = exchange.now if message is None else message.at
        finding = self.clients.bans.struck(exchange, refuse, now, message)
        if finding is not None:
            event = about(exchange, finding.event, Outcome.REFUSED, now, 0, finding.detail)
            self._services.events.record(event)
