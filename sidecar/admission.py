"""The one loop: guards are asked in order, the first that does not pass has decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sidecar.decision import KEEP, PASS, Answer, Decision, Inspection, Keep, Pass, Refuse, Rewrite
from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, Step
from sidecar.vocabulary import Outcome


async def admit(exchange: Exchange, steps: Sequence[Step], events: EventSink) -> Decision:
    """Return PASS, or the Answer or Refuse that ends the request here."""
    for step in steps:
        decision = step.ask(exchange)
        if step.waits:
            decision = await decision
        if decision is PASS:
            continue
        if isinstance(decision, Pass | Answer):
            for finding in decision.findings:
                events.record(about(exchange, finding.event, Outcome.ALLOWED, exchange.now, 0, finding.detail))
            if isinstance(decision, Pass):
                continue
            return decision
        if step.enforce:
            return cast(Refuse, decision)
        observe(exchange, step.guard.name, decision, events)
    return PASS


async def inspect(exchange: Exchange, body: bytes, steps: Sequence[BodyStep], events: EventSink) -> Inspection:
    """Return KEEP, a Rewrite with the body as all guards left it, or the Refuse that ends the request."""
    changed = False
    drop: tuple[bytes, ...] = ()
    for step in steps:
        result = cast(Any, step.guard).inspect(exchange, body)
        if step.waits:
            result = await result
        if result is KEEP:
            continue
        if isinstance(result, Refuse):
            if step.enforce:
                return result
            observe(exchange, step.guard.name, result, events)
            continue
        outcome = Outcome.ALLOWED if isinstance(result, Keep) else Outcome.CHANGED if step.enforce else Outcome.OBSERVED
        for finding in result.findings:
            events.record(about(exchange, finding.event, outcome, exchange.now, 0, finding.detail))
        if isinstance(result, Rewrite) and step.enforce:
            body, changed, drop = result.body, True, (*drop, *(name for name in result.drop if name not in drop))
            if result.changes:
                exchange.notes["X-Sidecar-Sanitized"] = result.changes
    return Rewrite(body, drop=drop) if changed else KEEP


def observe(exchange: Exchange, guard: str, refusal: Refuse, events: EventSink) -> None:
    """Record what a guard in observe mode would have done."""
    code = refusal.code
    if refusal.recorded is not None:
        detail = {**refusal.detail, "guard": guard, "code": code.name, "would_be": code.status}
        events.record(about(exchange, refusal.recorded, Outcome.OBSERVED, exchange.now, 0, detail))
