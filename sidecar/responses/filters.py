"""What looks at a route's answers: known secrets and key shapes, joined with the route's other filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.redaction.filters import Redaction, RedactionFilter
from sidecar.redaction.known_secrets import KnownMatcher
from sidecar.redaction.websocket_filter import FrameFilter as RedactedFrames
from sidecar.responses.budget_meter import BudgetMeter
from sidecar.responses.interfaces import AnswerJudge, BackendResponseHead, SocketMessageFilter
from sidecar.responses.link_filter import AnswerLinks
from sidecar.responses.socket_usage import SocketUsage
from sidecar.responses.token_usage import TokenUsage
from sidecar.services import SecretMatchers
from sidecar.vocabulary import Event, Outcome


class ResponseObserver(Protocol):
    """A further filter of a route that reads responses: for token usage, sessions or conversations."""

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Return a filter that reads this response; None if it is of no interest."""
        ...

    def reads_whole(self, answer: BackendResponseHead) -> bool:
        """Return whether `read_whole` does for a complete body what the filter would; False: ask the filter."""
        ...

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Read a complete body, which passes as it is."""
        ...


class RouteResponseFilters:
    """The ResponseFilters of one route: redaction first, so that observers read what the client receives.

    `keys` is None where known secrets are not looked for. In observe mode (`enforce=False`) secrets
    are reported and pass.
    """

    def __init__(
        self,
        redaction: Redaction,
        keys: SecretMatchers | None,
        watchers: Sequence[ResponseObserver],
        events: EventSink,
        *,
        links: AnswerLinks | None = None,
        held: AnswerJudge | None = None,
        enforce: bool = True,
    ) -> None:
        self.held = held
        self._links = links
        self._redaction = redaction
        self._keys = keys
        self._watchers = (*watchers, *((links,) if links is not None else ()))
        self._events = events
        self.enforce = enforce
        self._seen: KnownMatcher | None = None

    def wanted(self) -> bool:
        """Return whether redaction or an observer has to see responses now; takes over a changed set of secrets."""
        if self._keys is not None:
            matcher = self._keys.matcher()
            if matcher is not self._seen:
                self._seen = matcher
                self._redaction.know(matcher)
        return self._redaction.active or bool(self._watchers) or self.held is not None

    def clean(self, text: bytes) -> bytes:
        """Return a text without secrets; nothing is recorded."""
        return self._redaction.redact_value(text) if self._redaction.active else text

    def count_refused(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Count what an answer used that is not shown: the model has worked for it."""
        for watcher in self._watchers:
            if isinstance(watcher, TokenUsage | BudgetMeter):
                watcher.read_whole(exchange, answer, body)

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Return the filter of one response, several of them chained; None if it may pass as it comes."""
        kind = answer.index.get(b"content-type", b"")
        found = self._redaction.filter_for(kind) if self._redaction.active else None
        redacted: _Redacted | None = None
        if found is not None:
            redacted = _Redacted(found, _Report(found.counts, exchange, self._events, self.enforce), self.enforce)
            exchange.releases.append(redacted.settle)  # a client that leaves does not undo what was met
        further: ResponseFilter | None = None
        for watcher in self._watchers:
            one = watcher.for_answer(exchange, answer)
            if one is not None:
                further = one if further is None else _Pair(further, one)
        if redacted is None:
            return further
        redacted.further = further
        return redacted

    def passes_whole(self, exchange: Exchange, answer: BackendResponseHead, lines: bytes, body: bytes) -> bool:
        """Return whether a complete, uncoded response may be sent as it is; observers have read it then."""
        index = answer.index
        if b"content-encoding" in index:
            return False
        if not self._redaction.passes_whole(index.get(b"content-type", b""), lines, body):
            return False
        for watcher in self._watchers:
            if not watcher.reads_whole(answer):
                return False
        for watcher in self._watchers:
            watcher.read_whole(exchange, answer, body)
        return True

    def frames(self, exchange: Exchange) -> SocketMessageFilter | None:
        """Return the filter of a WebSocket's messages; None if there is nothing to look for."""
        redacted = _SocketFrames(self, exchange) if self._redaction.active else None
        if redacted is not None:
            exchange.releases.append(redacted.settle)
        found = self._links.frames(exchange, redacted) if self._links is not None else redacted
        for watcher in self._watchers:
            if isinstance(watcher, TokenUsage | BudgetMeter):
                found = SocketUsage(exchange, watcher.counter, found)
        return found

    def frames_now(self, exchange: Exchange) -> _ReportedFrames | None:
        """Return a filter that knows the secrets of this moment."""
        found = self._redaction.frames() if self.wanted() else None
        return None if found is None else _ReportedFrames(found, exchange, self._events, self.enforce)

    def known(self) -> KnownMatcher | None:
        """Return the secrets of this moment; another object once they have changed."""
        return self._keys.matcher() if self._keys is not None else None

    def suspects(self, lines: bytes) -> bool:
        """Return whether header lines may hold a secret, so that each value must be read."""
        return self._redaction.active and self._redaction.suspicious(lines)

    def value(self, exchange: Exchange, value: bytes) -> bytes:
        """Return a header value with its secrets replaced; in observe mode, report them and return it as it came."""
        counts: dict[str, int] = {}
        clean = self._redaction.redact_value(value, counts)
        if counts:
            _report(exchange, counts, self._events, enforce=self.enforce)
        return clean if self.enforce else value


class _Report:
    """Record SECRET_REDACTED once per answer or socket, when the first secret is met."""

    __slots__ = ("_counts", "_enforce", "_events", "_exchange", "_said")

    def __init__(self, counts: dict[str, int], exchange: Exchange, events: EventSink, enforce: bool) -> None:
        self._counts = counts
        self._exchange = exchange
        self._events = events
        self._enforce = enforce
        self._said = False

    def say(self) -> None:
        if self._counts and not self._said:
            self._said = True
            _report(self._exchange, self._counts, self._events, enforce=self._enforce)


class _Redacted:
    """The filter of a body, reported, and what reads what it lets pass; in observe mode the body passes as it came."""

    __slots__ = ("_enforce", "_inner", "_over", "_report", "further")

    def __init__(self, inner: RedactionFilter, report: _Report, enforce: bool) -> None:
        self._inner = inner
        self.further: ResponseFilter | None = None
        self._report = report
        self._enforce = enforce
        self._over = False

    def feed(self, chunk: bytes) -> bytes:
        clean = self._inner.feed(chunk)
        if clean is not chunk:
            self._report.say()
            if not self._enforce:
                clean = chunk
        return clean if self.further is None else self.further.feed(clean)

    def finish(self) -> bytes:
        rest = self._ended()
        if not self._enforce:
            rest = b""
        return rest if self.further is None else _ended(self.further, rest)

    def settle(self) -> None:
        """Report what is in a body that ended before its end, such as a key at the end of what had come."""
        if not self._over:
            self._ended()

    def _ended(self) -> bytes:
        self._over = True
        rest = self._inner.finish()
        self._report.say()
        return rest


class _ReportedFrames:
    """The same for the messages of a socket."""

    __slots__ = ("_enforce", "_inner", "_report")

    def __init__(self, inner: RedactedFrames, exchange: Exchange, events: EventSink, enforce: bool) -> None:
        self._inner = inner
        self._enforce = enforce
        self._report = _Report(inner.counts, exchange, events, enforce)

    def take(self, message: bytes, *, binary: bool) -> list[tuple[bytes, bool]]:
        clean = self._inner.take(message, binary=binary)
        if not self._enforce:
            self._inner.rest()  # it passes at once, so what it shows is reported at once
        self._report.say()
        return clean if self._enforce else [(message, binary)]

    def rest(self) -> list[tuple[bytes, bool]]:
        rest = self._inner.rest()
        self._report.say()
        return rest if self._enforce else []

    def control(self, payload: bytes) -> bytes:
        clean = self._inner.control(payload)
        self._report.say()
        return clean if self._enforce else payload

    def close_reason(self, reason: bytes) -> bytes:
        clean = self._inner.close_reason(reason)
        self._report.say()
        return clean if self._enforce else reason


class _SocketFrames:
    """The filter of a socket, which may outlive the secrets that were known when it opened."""

    __slots__ = ("_answers", "_exchange", "_inner", "_known")

    def __init__(self, answers: RouteResponseFilters, exchange: Exchange) -> None:
        self._answers = answers
        self._exchange = exchange
        self._known = answers.known()
        self._inner = answers.frames_now(exchange)

    def _renewed(self) -> list[tuple[bytes, bool]]:
        """Use the secrets of this moment; return the messages that the filter before them kept waiting."""
        known = self._answers.known()
        if known is self._known:
            return []
        left = self.rest()
        self._known = known
        self._inner = self._answers.frames_now(self._exchange)
        return left

    def take(self, message: bytes, *, binary: bool) -> list[tuple[bytes, bool]]:
        left = self._renewed()
        return [*left, *(self._inner.take(message, binary=binary) if self._inner is not None else [(message, binary)])]

    def rest(self) -> list[tuple[bytes, bool]]:
        return self._inner.rest() if self._inner is not None else []

    def settle(self) -> None:
        """Report what is in messages that wait when the socket ends."""
        self.rest()

    def control(self, payload: bytes) -> bytes:
        return self._inner.control(payload) if self._inner is not None and payload else payload

    def close_reason(self, reason: bytes) -> bytes:
        return self._inner.close_reason(reason) if self._inner is not None and reason else reason


class _Pair:
    """Two filters, one after another."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: ResponseFilter, second: ResponseFilter) -> None:
        self._first = first
        self._second = second

    def feed(self, chunk: bytes) -> bytes:
        return self._second.feed(self._first.feed(chunk))

    def finish(self) -> bytes:
        return _ended(self._second, self._first.finish())


def _ended(then: ResponseFilter, rest: bytes) -> bytes:
    """Return what a filter lets pass of the last bytes before it, with what it held."""
    return (then.feed(rest) if rest else b"") + then.finish()


def _report(exchange: Exchange, counts: dict[str, int], events: EventSink, *, enforce: bool) -> None:
    outcome = Outcome.CHANGED if enforce else Outcome.OBSERVED
    events.record(about(exchange, Event.SECRET_REDACTED, outcome, exchange.now, 0, dict(counts)))
