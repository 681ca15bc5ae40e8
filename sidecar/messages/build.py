"""Builds the guards of messages from `routes[].message` and `content_filter`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.errors import Problems
from sidecar.guard import BodyStep, Enforced
from sidecar.messages.content_filter import ContentFilterGuard, compile_patterns
from sidecar.messages.message_body import MessageReader
from sidecar.messages.message_guard import MessageGuard, build_message_guard
from sidecar.messages.open_webui_turns import RefusedTurns, TurnBegins, TurnGoesOn
from sidecar.messages.protocols.pages import OPEN_WEBUI
from sidecar.messages.websocket_messages import WebSocketMessageGuard, frame_guard
from sidecar.policy.schema.custom_guards import Guardrail
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route
from sidecar.services import Services

if TYPE_CHECKING:
    from sidecar.messages.guardrail import AnswerGuardrail
    from sidecar.messages.moderation import ModerationGuard


@dataclass(frozen=True, slots=True)
class RouteMessages:
    """The message guards of one route.

    first   reads the message: asked before all other guards of the body
    then    asked last: the content filter, moderation and guardrails
    socket  inspects the messages of the route's WebSockets; None where they are not inspected
    reader  finds the texts of a message; None where there is none
    """

    first: tuple[BodyStep, ...] = ()
    then: tuple[BodyStep, ...] = ()
    socket: WebSocketMessageGuard | None = None
    reader: MessageReader | None = None


class Messages:
    """The message guards of one policy."""

    def __init__(self, schema: PolicySchema, services: Services, problems: Problems) -> None:
        self._filter = schema.content_filter
        self._services = services
        self._turns = RefusedTurns()
        self._services_asked = [
            (section, _tls(section, problems.at(f"guardrails[{index}]")))
            for index, section in enumerate(schema.guardrails)
        ]
        patterns = {each.name: each.pattern for each in self._filter.patterns}
        self._patterns = compile_patterns(patterns, problems.at("content_filter.patterns")) if patterns else None

    def for_route(self, route: Route | None, problems: Problems, enforced: Enforced) -> RouteMessages:
        """Return the guards of one route; `problems` is at it. None is what no route matches."""
        if route is None or route.message is None:
            return RouteMessages()
        message = route.message
        guard = build_message_guard(
            protocol=route.protocol,
            fields=message.fields,
            max_chars=message.max_chars,
            markup=message.markup,
            on_uninspectable=message.on_uninspectable,
            roles=message.roles,
            problems=problems.at("message"),
        )
        if guard is None:
            return RouteMessages()
        enforce, filtered = enforced("message"), enforced("content_filter")
        then = []
        if self._patterns is not None:
            content = ContentFilterGuard(guard.reader, self._patterns, message.on_uninspectable == "pass")
            then.append(BodyStep(content, filtered))
        moderation = self._moderation(guard)
        if moderation is not None:
            then.append(BodyStep(moderation, filtered))
        then += self._guardrails(route, guard, enforced)
        socket = frame_guard(guard, self._patterns if filtered else None) if enforce else None
        first = [BodyStep(guard, enforce)]
        if guard.reader.protocol is OPEN_WEBUI:
            first.insert(0, BodyStep(TurnBegins(self._turns)))
            then.append(BodyStep(TurnGoesOn(self._turns)))
        return RouteMessages(tuple(first), tuple(then), socket, guard.reader)

    def _guardrails(self, route: Route, guard: MessageGuard, enforced: Enforced) -> list[BodyStep]:
        # Without a supplier of keys a policy is only tried: nothing is sent then.
        if self._services.key_of is None:
            return []
        asked = self._asked_on(route)
        if not asked:
            return []
        from sidecar.messages.guardrail import GuardrailGuard, QuestionKeeper  # not for a policy without any

        steps: list[BodyStep] = [
            BodyStep(
                GuardrailGuard(guard.reader, section, tls, self._services.clock),
                not section.observe and enforced(f"guardrails.{section.name}"),
            )
            for section, tls in asked
            if section.about != "responses"
        ]
        if any(section.about != "requests" for section, _ in asked):
            steps.append(BodyStep(QuestionKeeper(guard.reader)))
        return steps

    def answer_guardrails(self, route: Route | None, enforced: Enforced) -> list[AnswerGuardrail]:
        """Return what judges the answers of a route with a message, in the policy's order."""
        if route is None or route.message is None or self._services.key_of is None:
            return []
        asked = self._asked_on(route)
        if not asked:
            return []
        from sidecar.messages.guardrail import AnswerGuardrail

        return [
            AnswerGuardrail(
                section,
                tls,
                self._services.clock,
                enforce=not section.observe and enforced(f"guardrails.{section.name}"),
            )
            for section, tls in asked
            if section.about != "requests"
        ]

    def _asked_on(self, route: Route) -> list[tuple[Guardrail, ssl.SSLContext | None]]:
        return [each for each in self._services_asked if not each[0].routes or route.name in each[0].routes]

    def _moderation(self, guard: MessageGuard) -> ModerationGuard | None:
        section = self._filter.moderation
        if section is None or self._services.key_of is None:
            return None
        from sidecar.messages.moderation import ModerationGuard, OnFailure, OpenAIModerator

        return ModerationGuard(
            guard.reader,
            judge=OpenAIModerator(model=section.model, timeout=section.timeout),
            key=self._services.key_of(section.provider),
            clock=self._services.clock,
            timeout=section.timeout,
            on_failure=OnFailure(section.on_failure),
            ttl=section.cache,
        )


def _tls(section: Guardrail, problems: Problems) -> ssl.SSLContext | None:
    if not section.url.startswith("https:"):
        return None
    try:
        return ssl.create_default_context(cafile=section.ca)
    except (OSError, ssl.SSLError):
        problems.at("ca").add("cannot be used", "name a PEM file of the authorities to trust")
        return None


def build(schema: PolicySchema, services: Services, problems: Problems) -> Messages:
    """Build the message guards of a policy; `problems` is at its root."""
    return Messages(schema, services, problems)
