"""What looks at a route's answers: known secrets and key shapes, joined with the route's other filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.policy.policy import AnswerHead
from sidecar.redaction.filters import AnswerFilter, Redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.vault.records import KnownSecrets
from sidecar.vocabulary import Event, Outcome


class KnownKeys:
    """The matcher of all plain keys in this process: one for all routes, rebuilt when the set changes."""

    def __init__(self, secrets: Callable[[], KnownSecrets] | None) -> None:
        self._secrets = secrets
        self._generation = -1
        self._matcher: SecretMatcher | None = None

    def matcher(self) -> SecretMatcher | None:
        if self._secrets is None:
            return None
        known = self._secrets()
        if known.generation != self._generation:
            self._generation = known.generation
            self._matcher = SecretMatcher(known.secrets) if known.secrets else None
        return self._matcher


class Watcher(Protocol):
    """A further filter of a route: it looks at answers, and may learn from them."""

    def for_answer(self, exchange: Exchange, answer: AnswerHead) -> ResponseFilter | None: ...


class Answers:
    """An AnswerFilters: redaction first, so that what others learn from is what the client sees.

    `keys` is None where known secrets are not looked for. In observe mode (`enforce=False`) secrets
    are reported and pass.
    """

    def __init__(
        self,
        redaction: Redaction,
        keys: KnownKeys | None,
        watchers: Sequence[Watcher],
        events: EventSink,
        *,
        enforce: bool = True,
    ) -> None:
        self._redaction = redaction
        self._keys = keys
        self._watchers = tuple(watchers)
        self._events = events
        self._enforce = enforce
        self._seen: SecretMatcher | None = None

    def wanted(self) -> bool:
        if self._keys is not None:
            matcher = self._keys.matcher()
            if matcher is not self._seen:
                self._seen = matcher
                self._redaction.know(matcher)
        return self._redaction.active or bool(self._watchers)

    def for_answer(self, exchange: Exchange, answer: AnswerHead) -> ResponseFilter | None:
        kind = answer.index.get(b"content-type", b"")
        found = self._redaction.filter_for(kind) if self._redaction.active else None
        chain: list[ResponseFilter] = [] if found is None else [_Reported(found, exchange, self._events, self._enforce)]
        for watcher in self._watchers:
            further = watcher.for_answer(exchange, answer)
            if further is not None:
                chain.append(further)
        if len(chain) < 2:
            return chain[0] if chain else None
        return _Chain(chain)

    def suspects(self, lines: bytes) -> bool:
        return self._redaction.active and self._redaction.redact_value(lines) != lines

    def value(self, exchange: Exchange, value: bytes) -> bytes:
        counts: dict[str, int] = {}
        clean = self._redaction.redact_value(value, counts)
        if counts:
            _report(exchange, counts, self._events, enforce=self._enforce)
        return clean if self._enforce else value


class _Reported:
    """Record SECRET_REDACTED once per answer, when the first secret is met."""

    __slots__ = ("_enforce", "_events", "_exchange", "_inner", "_said")

    def __init__(self, inner: AnswerFilter, exchange: Exchange, events: EventSink, enforce: bool) -> None:
        self._inner = inner
        self._exchange = exchange
        self._events = events
        self._enforce = enforce
        self._said = False

    def feed(self, chunk: bytes) -> bytes:
        clean = self._inner.feed(chunk)
        self._say()
        return clean if self._enforce else chunk

    def finish(self) -> bytes:
        rest = self._inner.finish()
        self._say()
        return rest if self._enforce else b""

    def _say(self) -> None:
        if self._inner.counts and not self._said:
            self._said = True
            _report(self._exchange, self._inner.counts, self._events, enforce=self._enforce)


class _Chain:
    """Several filters, one after another."""

    __slots__ = ("_filters",)

    def __init__(self, filters: Sequence[ResponseFilter]) -> None:
        self._filters = filters

    def feed(self, chunk: bytes) -> bytes:
        for each in self._filters:
            chunk = each.feed(chunk)
        return chunk

    def finish(self) -> bytes:
        rest = b""
        for each in self._filters:
            rest = (each.feed(rest) if rest else b"") + each.finish()
        return rest


def _report(exchange: Exchange, counts: dict[str, int], events: EventSink, *, enforce: bool) -> None:
    outcome = Outcome.CHANGED if enforce else Outcome.OBSERVED
    events.record(about(exchange, Event.SECRET_REDACTED, outcome, exchange.now, 0, dict(counts)))
