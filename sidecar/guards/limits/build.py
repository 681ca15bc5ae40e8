"""Builds the rate limits of each route from `rate_limits` and `routes[].rate_limits`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sidecar.errors import Problems
from sidecar.guard import BodyStep, Enforced, Step
from sidecar.guards.limits.body_rate_limit import HeadRateLimits, build_body_rate_limit, split
from sidecar.guards.limits.rate_limit import Costs, CountingRules, RateLimitGuard, build_rate_limit, check_limits
from sidecar.guards.limits.socket_rate_limit import SocketRateLimit
from sidecar.guards.limits.text_rate_limit import build_text_rate_limit
from sidecar.limit import Counts, Limit, Per
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.policy.schema.limits_and_sessions import RateLimit
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route
from sidecar.services import Services


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """The rate limits of one route.

    guard  asks all of them, and knows their state for the headers of a response
    head   asked at the head, before ownership
    body   asked once the session of a body is known, after the session's own guard
    socket  asked about each message of an inspected WebSocket that carries a text
    """

    guard: RateLimitGuard
    head: tuple[Step, ...] = ()
    body: tuple[BodyStep, ...] = ()
    socket: SocketRateLimit | None = None


class RateLimits:
    """The limits of one policy. `declared` lists every limit that was written, for the admin API."""

    def __init__(self, schema: PolicySchema, services: Services, problems: Problems) -> None:
        self._services = services
        self._problems = problems
        self.declared: list[Limit] = []
        self._default = schema.organizations.default
        self._global = self._read(schema.rate_limits, problems.at("rate_limits"), ())
        self.policy = self._guard(self._global, self._rules(Costs.BY_METHOD))
        self.egress = self._guard(
            self._read(schema.egress.rate_limits, problems.at("egress.rate_limits"), ()), self._rules(Costs.ALWAYS)
        )

    def for_all(self, enforced: Enforced) -> RouteLimits:
        """Return the limits of requests that have none of their own."""
        return RouteLimits(self.policy, self._head_step(self.policy, enforced))

    def for_reports(self, enforced: Enforced) -> RouteLimits:
        """Return the limits of what browsers send by themselves: it is no chat, whatever its method."""
        guard = self._guard(self._global, self._rules(Costs.NEVER))
        return RouteLimits(guard, self._head_step(guard, enforced))

    def for_route(self, route: Route, place: Problems, enforced: Enforced, *, in_body: bool) -> RouteLimits:
        """Return the limits of one route: the policy's and its own, written at `place`.

        in_body: the session may be in the body, so what counts per session waits until it is read.
        """
        if route.rate_limits is None:
            return RouteLimits(self._guard((), self._rules(Costs.NEVER)))
        own = self._read(route.rate_limits, place, self._global)
        rules = CountingRules(
            Costs.ALWAYS if is_costly(route) else Costs.BY_METHOD,
            frozenset(limit.name for limit in own),
            messages=route.message is not None,
            default_organization=self._default,
        )
        whole, enforce = self._guard((*self._global, *own), rules), enforced("rate_limits")
        socket = SocketRateLimit(whole, enforce) if whole.limits and rules.messages else None
        if rules.messages and BY_NAME[route.protocol].counted_by_text:
            return self._by_text(whole, rules, enforced, socket)
        at_head, late = split(whole.limits)
        if not in_body or not late:
            return RouteLimits(whole, self._head_step(whole, enforced), (), socket)
        first = self._guard(at_head, rules)
        joined = build_body_rate_limit(first, self._guard(late, rules))
        head = self._head_step(HeadRateLimits(first, whole), enforced)
        body = (BodyStep(joined, enforce),)
        return RouteLimits(whole, (*head, Step(joined, enforce)), body, socket)

    def _by_text(
        self, whole: RateLimitGuard, rules: CountingRules, enforced: Enforced, socket: SocketRateLimit | None
    ) -> RouteLimits:
        """Return limits that count a request once its body is known to say something new."""
        at_head = tuple(each for each in whole.limits if each.counts is Counts.ALL and each.name not in rules.own)
        late = tuple(each for each in whole.limits if each not in at_head)
        first = self._guard(at_head, replace(rules, costs=Costs.ALWAYS))
        head = self._head_step(first, enforced)
        if not late:
            return RouteLimits(whole, head, (), socket)
        joined = build_text_rate_limit(first, self._guard(late, replace(rules, costs=Costs.ALWAYS, messages=False)))
        return RouteLimits(whole, head, (BodyStep(joined, enforced("rate_limits")),), socket)

    def _rules(self, costs: Costs) -> CountingRules:
        return CountingRules(costs, default_organization=self._default)

    def _head_step(self, guard: RateLimitGuard | HeadRateLimits, enforced: Enforced) -> tuple[Step, ...]:
        return (Step(guard, enforced("rate_limits")),) if guard.limits else ()

    def _read(self, section: Sequence[RateLimit], place: Problems, before: Sequence[Limit]) -> tuple[Limit, ...]:
        limits = tuple(
            Limit(each.name, Per(each.per), each.limit, each.window, Counts(each.counts), each.organizations == "named")
            for each in section
        )
        check_limits(limits, place, before)
        self.declared.extend(limits)
        return limits

    def _guard(self, limits: tuple[Limit, ...], rules: CountingRules) -> RateLimitGuard:
        return build_rate_limit(limits, self._services.rates, waits=self._services.waits, rules=rules)


def is_costly(route: Route) -> bool:
    """Return whether every request of a route costs: it carries a message, a credential or a required session."""
    return route.message is not None or route.credential is not None or route.session == "required"


def build(schema: PolicySchema, services: Services, problems: Problems) -> RateLimits:
    """Build the limits of a policy; `problems` is at its root."""
    return RateLimits(schema, services, problems)
