"""What looks into the bodies of inspected routes, and into the messages of their sockets."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import Problems
from sidecar.guard import BodyStep
from sidecar.messages.content_filter import ContentFilterGuard, compile_patterns
from sidecar.messages.message_guard import MessageGuard, build_message_guard
from sidecar.messages.moderation import ModerationGuard, OnFailure, OpenAIModerator
from sidecar.messages.websocket_messages import WebSocketMessageGuard, frame_guard
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route
from sidecar.policy.services import Services

BodySteps = tuple[BodyStep, ...]


class BodyStepBuilder:
    """Builds the body guards of one policy's routes; `enforced(guard, route)` says which of them only observe."""

    def __init__(
        self, schema: PolicySchema, services: Services, problems: Problems, enforced: Callable[[str, Route], bool]
    ) -> None:
        self._filter = schema.content_filter
        self._services = services
        self._enforced = enforced
        patterns = {each.name: each.pattern for each in self._filter.patterns}
        place = problems.at("content_filter.patterns")
        self._patterns = compile_patterns(patterns, place) if patterns else None

    def of(self, route: Route, problems: Problems, then: BodySteps) -> tuple[BodySteps, WebSocketMessageGuard | None]:
        """Return the guards of a route's bodies; `then` are asked once the message's own guard has read one."""
        message = route.message
        if message is None:
            return then, None
        guard = build_message_guard(
            protocol=route.protocol,
            fields=message.fields,
            max_chars=message.max_chars,
            markup=message.markup,
            on_uninspectable=message.on_uninspectable,
            problems=problems.at("message"),
        )
        if guard is None:
            return (), None
        enforce = self._enforced("message", route)
        filtered = self._enforced("content_filter", route)
        steps = [BodyStep(guard, enforce), *then]
        if self._patterns is not None:
            content = ContentFilterGuard(guard.reader, self._patterns, message.on_uninspectable == "pass")
            steps.append(BodyStep(content, filtered))
        moderation = self._moderation(guard)
        if moderation is not None:
            steps.append(BodyStep(moderation, filtered, waits=True))
        return tuple(steps), frame_guard(guard, self._patterns if filtered else None) if enforce else None

    def _moderation(self, guard: MessageGuard) -> ModerationGuard | None:
        section = self._filter.moderation
        if section is None or self._services.key_of is None:
            return None
        return ModerationGuard(
            guard.reader,
            judge=OpenAIModerator(model=section.model, timeout=section.timeout),
            key=self._services.key_of(section.provider),
            clock=self._services.clock,
            timeout=section.timeout,
            on_failure=OnFailure(section.on_failure),
            ttl=section.cache,
        )
