"""The one loop: guards are asked in order, the first that does not pass has decided."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from sidecar.decision import KEEP, PASS, Answer, Decision, Inspection, Keep, Pass, Refuse, Rewrite, Waiting, waiting
from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, Step
from sidecar.vocabulary import Outcome


def admit(exchange: Exchange, steps: Sequence[Step], events: EventSink) -> Decision | Waiting[Decision]:
    """Return PASS, the Answer or Refuse that ends the request here, or what has to be waited for first."""
    for number, step in enumerate(steps, 1):
        decision = step.ask(exchange)
        if decision is PASS:
            continue
        if not isinstance(decision, Pass | Answer | Refuse):
            return _waiting(exchange, step, decision, steps[number:], events)
        ended = _decided(exchange, step, decision, events)
        if ended is not None:
            return ended
    return PASS


def _waiting(
    exchange: Exchange, step: Step, awaitable: Awaitable[Decision], following: Sequence[Step], events: EventSink
) -> Waiting[Decision]:
    def resume(decision: Decision) -> Decision | Waiting[Decision]:
        ended = None if decision is PASS else _decided(exchange, step, decision, events)
        return admit(exchange, following, events) if ended is None else ended

    return waiting(awaitable).then(resume)


def _decided(exchange: Exchange, step: Step, decision: Decision, events: EventSink) -> Answer | Refuse | None:
    """Record what a guard found; return what ends the request, or None."""
    if isinstance(decision, Refuse):
        if step.enforce:
            exchange.refused_by = step.guard.name
            return decision
        observe(exchange, step.guard.name, decision, events)
        return None
    for finding in decision.findings:
        events.record(about(exchange, finding.event, Outcome.ALLOWED, exchange.now, 0, finding.detail))
    return None if isinstance(decision, Pass) else decision


def inspect(
    exchange: Exchange, body: bytes, steps: Sequence[BodyStep], events: EventSink
) -> Inspection | Waiting[Inspection]:
    """Return KEEP, a Rewrite with the body as all guards left it, what ends the request, or a Waiting."""
    return _BodySteps(exchange, body, events).ask(steps)


class _BodySteps:
    """A body on its way through the guards that look into it."""

    __slots__ = ("_body", "_changed", "_drop", "_events", "_exchange")

    def __init__(self, exchange: Exchange, body: bytes, events: EventSink) -> None:
        self._exchange = exchange
        self._body = body
        self._events = events
        self._changed = False
        self._drop: tuple[bytes, ...] = ()

    def ask(self, steps: Sequence[BodyStep]) -> Inspection | Waiting[Inspection]:
        for number, step in enumerate(steps, 1):
            result = step.ask(self._exchange, self._body)
            if result is KEEP:
                continue
            if not isinstance(result, Keep | Rewrite | Refuse | Answer):
                return self._waiting(step, result, steps[number:])
            refused = self._found(step, result)
            if refused is not None:
                return refused
        return Rewrite(self._body, drop=self._drop) if self._changed else KEEP

    def _waiting(
        self, step: BodyStep, awaitable: Awaitable[Inspection], following: Sequence[BodyStep]
    ) -> Waiting[Inspection]:
        def resume(result: Inspection) -> Inspection | Waiting[Inspection]:
            refused = self._found(step, result)
            return self.ask(following) if refused is None else refused

        return waiting(awaitable).then(resume)

    def _found(self, step: BodyStep, result: Inspection) -> Refuse | Answer | None:
        exchange, events = self._exchange, self._events
        if isinstance(result, Refuse):
            if step.enforce:
                exchange.refused_by = step.guard.name
                return result
            observe(exchange, step.guard.name, result, events)
            return None
        outcome = Outcome.ALLOWED
        if isinstance(result, Rewrite):
            outcome = Outcome.CHANGED if step.enforce else Outcome.OBSERVED
        for finding in result.findings:
            events.record(about(exchange, finding.event, outcome, exchange.now, 0, finding.detail))
        if isinstance(result, Rewrite) and step.enforce:
            self._body, self._changed = result.body, True
            self._drop = (*self._drop, *(name for name in result.drop if name not in self._drop))
            if result.changes:
                exchange.notes["X-Sidecar-Sanitized"] = result.changes
        return result if isinstance(result, Answer) else None


def observe(exchange: Exchange, guard: str, refusal: Refuse, events: EventSink) -> None:
    """Record what a guard in observe mode would have done."""
    code = refusal.code
    if refusal.recorded is not None:
        detail = {**refusal.detail, "guard": guard, "code": code.name, "would_be": code.status}
        events.record(about(exchange, refusal.recorded, Outcome.OBSERVED, exchange.now, 0, detail))
