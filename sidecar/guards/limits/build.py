"""Builds the rate limits of each route from `rate_limits` and `routes[].rate_limits`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.errors import Problems
from sidecar.guard import BodyStep, Enforced, Step
from sidecar.guards.limits.body_rate_limit import HeadRateLimits, build_body_rate_limit, split
from sidecar.guards.limits.rate_limit import RateLimitGuard, build_rate_limit, check_limits
from sidecar.limit import Limit, Per
from sidecar.policy.schema.limits_and_sessions import RateLimit
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.services import Services


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """The rate limits of one route.

    guard  asks all of them, and knows their state for the headers of a response
    head   asked at the head, before ownership
    body   asked once the session of a body is known, after the session's own guard
    """

    guard: RateLimitGuard
    head: tuple[Step, ...] = ()
    body: tuple[BodyStep, ...] = ()


class RateLimits:
    """The limits of one policy. `declared` lists every limit that was written, for the admin API."""

    def __init__(self, schema: PolicySchema, services: Services, problems: Problems) -> None:
        self._services = services
        self._problems = problems
        self.declared: list[Limit] = []
        self._global = self._read(schema.rate_limits, problems.at("rate_limits"), ())
        self.policy = self._guard(self._global)
        self.egress = self._guard(self._read(schema.egress.rate_limits, problems.at("egress.rate_limits"), ()))

    def for_all(self, enforced: Enforced) -> RouteLimits:
        """Return the limits of requests that have none of their own."""
        return RouteLimits(self.policy, self._head_step(self.policy, enforced))

    def for_route(self, own: Sequence[RateLimit], place: Problems, enforced: Enforced, *, in_body: bool) -> RouteLimits:
        """Return the limits of one route: the policy's and its `own`, written at `place`.

        in_body: the session may stand in the body, so what counts per session waits until it is read.
        """
        whole = self._guard((*self._global, *self._read(own, place, self._global)))
        at_head, late = split(whole.limits)
        if not in_body or not late:
            return RouteLimits(whole, self._head_step(whole, enforced))
        first = self._guard(at_head)
        joined = build_body_rate_limit(first, self._guard(late))
        enforce = enforced("rate_limits")
        head = self._head_step(HeadRateLimits(first, whole), enforced)
        return RouteLimits(
            whole, (*head, Step(joined, enforce, joined.waits)), (BodyStep(joined, enforce, joined.waits),)
        )

    def _head_step(self, guard: RateLimitGuard | HeadRateLimits, enforced: Enforced) -> tuple[Step, ...]:
        return (Step(guard, enforced("rate_limits"), guard.waits),) if guard.limits else ()

    def _read(self, section: Sequence[RateLimit], place: Problems, before: Sequence[Limit]) -> tuple[Limit, ...]:
        limits = tuple(Limit(each.name, Per(each.per), each.limit, each.window) for each in section)
        check_limits(limits, place, before)
        self.declared.extend(limits)
        return limits

    def _guard(self, limits: tuple[Limit, ...]) -> RateLimitGuard:
        return build_rate_limit(limits, self._services.rates, waits=self._services.waits)


def build(schema: PolicySchema, services: Services, problems: Problems) -> RateLimits:
    """Build the limits of a policy; `problems` stands at its root."""
    return RateLimits(schema, services, problems)
