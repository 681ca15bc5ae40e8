"""Builds what looks at the responses of a route: redaction, token usage, learned sessions and conversations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sidecar.errors import Problems
from sidecar.guard import Enforced
from sidecar.guards.sessions.build import RouteSessions, SessionGuards
from sidecar.guards.sessions.ownership import Ownership
from sidecar.guards.sessions.session import Binding
from sidecar.json_path import Path, compile_path
from sidecar.messages.protocols.catalogue import AUTO, BY_NAME, KNOWN
from sidecar.policy.schema.content import Redaction as RedactionSection
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route as RouteSchema
from sidecar.prices import PriceTable
from sidecar.redaction.filters import Redaction, build_redaction
from sidecar.redaction.known_secrets import KnownSecretsSource
from sidecar.redaction.links import AllowedHosts, OnOther
from sidecar.responses.budget_meter import BudgetMeter
from sidecar.responses.filters import ResponseObserver, RouteResponseFilters
from sidecar.responses.id_extraction import IdRule
from sidecar.responses.link_filter import AnswerLinks, LinkRules
from sidecar.responses.session_learning import (
    BodyObserver,
    CookieObserver,
    LearningRule,
    SessionLearner,
    conversations,
    owned,
)
from sidecar.responses.token_usage import TokenUsage, UsageCounter
from sidecar.services import SecretMatchers, Services

if TYPE_CHECKING:
    from sidecar.messages.guardrail import AnswerGuardrail
    from sidecar.responses.held_answers import HeldAnswers

BACKEND: Final = "backend"
"""The provider of a route whose backend calls its model by itself, in metrics."""


class Responses:
    """The response filters of one policy. `known_secrets` are the plain keys that no response may contain."""

    def __init__(self, schema: PolicySchema, services: Services, problems: Problems, prices: PriceTable) -> None:
        self._schema = schema
        self._prices = prices
        self._services = services
        self._problems = problems
        self.known_secrets: SecretMatchers = services.matchers or KnownSecretsSource(services.secrets)
        self._redactions: dict[tuple[frozenset[str], bool], Redaction] = {}

    def for_route(
        self,
        route: RouteSchema | None,
        sessions: RouteSessions,
        guards: SessionGuards,
        enforced: Enforced,
        also: tuple[ResponseObserver, ...] = (),
        *,
        metered: bool = False,
        guardrails: Sequence[AnswerGuardrail] = (),
    ) -> RouteResponseFilters | None:
        """Return the filters of one route and the observers in `also`, None where there is nothing to look for.

        metered     the route's requests are held to budgets
        guardrails  what judges its answers before they are shown
        """
        section = (route.redaction if route is not None else None) or self._schema.redaction
        redaction = self._redaction(section)
        keys = self.known_secrets if section.known_secrets else None
        observers = (*self._learning(route, sessions, guards), *self._usage(route, metered=metered), *also)
        links = self._links(route, enforced)
        held = self._held(guardrails)
        if keys is None and not section.patterns and not observers and links is None and held is None:
            return None
        return RouteResponseFilters(
            redaction, keys, observers, self._services.events, links=links, held=held, enforce=enforced("redaction")
        )

    def _redaction(self, section: RedactionSection) -> Redaction:
        """Return what looks for the same keys on every route that asks for them: its patterns take half a MiB."""
        wanted = (frozenset(section.patterns), section.known_secrets)
        found = self._redactions.get(wanted)
        if found is None:
            found = build_redaction(None, section.patterns, self._problems.at("redaction.patterns"))
            self._redactions[wanted] = found
        return found

    def _held(self, guardrails: Sequence[AnswerGuardrail]) -> HeldAnswers | None:
        """Return what holds a route's answers until services have judged them; None where none is asked."""
        if not guardrails:
            return None
        from sidecar.responses.held_answers import HeldAnswers

        return HeldAnswers(guardrails, self._services.events)

    def _links(self, route: RouteSchema | None, enforced: Enforced) -> AnswerLinks | None:
        """Return what looks for links in a route's answers; None where the policy says nothing of them."""
        section = self._schema.answers.links
        if section is None:
            return None
        on_other = OnOther(section.on_other) if enforced("links") else OnOther.OBSERVE
        allowed = AllowedHosts(section.allow)
        images = allowed if section.images is None else AllowedHosts(section.images)
        pages = route is not None and route.message is not None
        return AnswerLinks(LinkRules(allowed, images, on_other, pages), self._services.events)

    def counter(self, provider: str) -> UsageCounter:
        """Return what counts the tokens of one provider, and their cost."""
        return UsageCounter(provider, self._services.tokens, self._services.cost, self._prices)

    def _usage(self, route: RouteSchema | None, *, metered: bool) -> tuple[ResponseObserver, ...]:
        credential = route.credential if route is not None else None
        counts = credential is not None and credential.form == "header"
        if route is None or not (counts or metered):
            return ()  # calls with a handle are counted once, at the egress listener
        counter = self.counter(credential.provider if credential is not None else BACKEND)
        if not metered:
            return (TokenUsage(counter),)
        return (BudgetMeter(counter, self._services.budgets, self._services.events, route.protocol),)

    def _learning(
        self, route: RouteSchema | None, sessions: RouteSessions, guards: SessionGuards
    ) -> list[ResponseObserver]:
        if not guards.active or (route is not None and route.session == "none"):
            return []
        observers: list[ResponseObserver] = []
        section = self._schema.sessions
        learn = section.learn if section.mode == "learn" else None
        if learn is not None:
            rule = LearningRule(
                section.max_age,
                section.idle if section.idle is not None else section.max_age,
                Binding(section.bind_to),
            )
            services = self._services
            learner = SessionLearner(services.sessions, services.events, rule, guards.shape, ended=services.ended)
            if learn.cookie is not None:
                observers.append(CookieObserver(learner, learn.cookie.encode()))
            if learn.json_path is not None:
                # An id in a body that is not looked into could be the response's echo of what a client invented.
                seen = sessions.in_body or not guards.body_paths
                observers.append(
                    BodyObserver([IdRule((compile_path(learn.json_path),), learner.begin)], sees_bodies=seen)
                )
        if sessions.ownership is not None:
            protocol = route.protocol if route is not None else "plain"
            observers += _owned(sessions.ownership, protocol, reads_bodies=sessions.reads_bodies)
        return observers


def build(schema: PolicySchema, services: Services, problems: Problems, prices: PriceTable) -> Responses:
    """Build the response filters of a policy; `problems` is at its root."""
    return Responses(schema, services, problems, prices)


def _owned(ownership: Ownership, protocol: str, *, reads_bodies: bool) -> list[ResponseObserver]:
    """Return what learns the conversations that responses name."""
    rules = conversations(ownership, learned_by(protocol))
    header = ownership.names.header
    if not rules and not header:
        return []
    return [BodyObserver(rules, sees_bodies=reads_bodies, header=header, told=partial(owned, ownership))]


def learned_by(protocol: str) -> tuple[Path, ...]:
    """Return where a protocol's answers name conversations; `auto` is left to those that say so plainly."""
    known = BY_NAME[protocol]
    if known is not AUTO:
        return known.learned
    paths = {path.text: path for each in KNOWN for path in each.learned if path.text not in ("$.id", "$.response.id")}
    return tuple(path for path in paths.values() if path.steps[0] != 1)
