"""Asks services about a backend's answer before the client sees it: guardrails with `about: responses` or `both`.

Streams are not held: a word that has been shown cannot be taken back. It is recorded, or they are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from sidecar.admission import observe
from sidecar.decision import Detail, Refuse
from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.messages.guardrail import AnswerGuardrail, with_question
from sidecar.messages.moderation import ModerationFailed, OnFailure, flagged
from sidecar.redaction.filters import EVENT_STREAM, RECORDS, is_text, media_type
from sidecar.responses.interfaces import BackendResponseHead
from sidecar.vocabulary import Code, Event, Outcome

PAGE_PARTS: Final = frozenset({b"text/html", b"text/css", b"text/javascript", b"application/javascript"})
"""What a GET loads of the application itself."""
TOKEN: Final = re.compile(r"[\w.:/+=-]{0,128}", re.ASCII)
TOKENS: Final = frozenset({
    "id", "object", "model", "role", "type", "status", "finish_reason", "stop_reason", "system_fingerprint",
    "service_tier", "created_at", "done_reason", "sessionId", "session_id", "conversation_id", "thread_id", "run_id",
    "message_id", "request_id", "tool_call_id", "call_id", "previous_response_id",
})  # fmt: skip
"""Names of an answer's members whose strings are no text, as long as they look like a token."""


class HeldAnswers:
    """The services that judge the answers of one route, in the policy's order."""

    def __init__(self, guardrails: Sequence[AnswerGuardrail], events: EventSink) -> None:
        self._guardrails = tuple(guardrails)
        self._events = events
        self.most = max(each.most for each in guardrails)

    def holds(self, exchange: Exchange, answer: BackendResponseHead) -> bool | Refuse:
        """Return whether the body has to be held, or how an answer is refused that cannot be."""
        kind = media_type(answer.index.get(b"content-type", b""))
        if exchange.head.method == "HEAD" or answer.status in (204, 304) or not is_text(kind):
            return False
        if exchange.head.method == "GET" and kind in PAGE_PARTS:
            return False
        if not is_stream(kind):
            return True
        for each in self._guardrails:
            refuse = Refuse(Code.CONTENT_BLOCKED, {"reason": "stream"}) if each.refuses_streams else None
            if refuse is None:
                self._note(exchange, Event.MESSAGE_UNREADABLE, {"reason": "stream", "guard": each.name})
            elif self._stands(exchange, each, refuse):
                return refuse
        return False

    async def judge(
        self, exchange: Exchange, answer: BackendResponseHead, body: bytes | None, clean: Callable[[bytes], bytes]
    ) -> Refuse | None:
        """Return how the answer is refused, or None when it may be shown.

        body   without its content coding; None: longer than `most`, or unreadable
        clean  replaces secrets: no service gets them
        """
        kind = media_type(answer.index.get(b"content-type", b""))
        text = None if body is None else text_of(kind, body)
        asked = (
            "" if text is None else with_question(exchange.question, clean(text.encode()).decode("utf-8", "replace"))
        )
        for each in self._guardrails:
            if body is None or len(body) > each.most:
                refuse = self._failed(exchange, each, "too_long")
            elif text is None:
                refuse = self._failed(exchange, each, "unreadable")
            elif not text.strip():
                continue
            else:
                refuse = await self._ask(exchange, each, asked)
            if refuse is not None and self._stands(exchange, each, refuse):
                return refuse
        return None

    async def _ask(self, exchange: Exchange, each: AnswerGuardrail, asked: str) -> Refuse | None:
        try:
            verdicts = await each.judgements.about(exchange.organization, [asked])
        except ModerationFailed as failure:
            return self._failed(exchange, each, str(failure))
        categories = flagged(verdicts)
        return (
            None if categories is None else Refuse(Code.CONTENT_BLOCKED, {"categories": categories, "of": "response"})
        )

    def _failed(self, exchange: Exchange, each: AnswerGuardrail, why: str) -> Refuse | None:
        if each.on_failure is OnFailure.REFUSE:
            # The model has worked already: an SDK that asks again would pay for it again.
            return Refuse(Code.OVERLOADED, {"reason": why, "of": "response"}, [(b"x-should-retry", b"false")])
        self._note(exchange, Event.BACKEND_ERROR, {"reason": why, "guard": each.name, "of": "response"})
        return None

    def _stands(self, exchange: Exchange, each: AnswerGuardrail, refuse: Refuse) -> bool:
        """Return whether a refusal counts; where it only observes, record it."""
        if each.enforce:
            exchange.refused_by = each.name
            return True
        observe(exchange, each.name, refuse, self._events)
        return False

    def _note(self, exchange: Exchange, event: Event, detail: Detail) -> None:
        self._events.record(about(exchange, event, Outcome.ALLOWED, exchange.now, 0, detail))


def is_stream(kind: bytes) -> bool:
    """Return whether an answer of this media type comes piece by piece: events, lines of JSON, parts."""
    return kind == EVENT_STREAM or kind in RECORDS or kind.startswith(b"multipart/")


def text_of(kind: bytes, body: bytes) -> str | None:
    """Return what of an answer is text, a string of its JSON a line; None when it cannot be read."""
    if kind == b"application/json" or kind.endswith(b"+json"):
        try:
            return "\n".join(_strings(orjson.loads(body)))
        except orjson.JSONDecodeError:
            return None
    return body.decode("utf-8", "replace")


def _strings(value: Any) -> list[str]:
    """Return the strings of a JSON value in their order, without what is no text."""
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        name, each = waiting.pop()
        if isinstance(each, str):
            if each and not (name in TOKENS and TOKEN.fullmatch(each)):
                found.append(each)
        elif isinstance(each, dict):
            waiting += [(key, below) for key, below in reversed(each.items())]
        elif isinstance(each, list):
            waiting += [(name, below) for below in reversed(each)]
    return found
