"""Looks for links and images in a route's answers that lead to other hosts than the policy lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.redaction.filters import is_text, media_type, text_filter
from sidecar.redaction.links import IMAGE, AllowedHosts, Found, LinkScanner, OnOther, may_link
from sidecar.redaction.websocket_filter import FrameFilter
from sidecar.responses.interfaces import BackendResponseHead, SocketMessageFilter
from sidecar.vocabulary import Event, Outcome

MAX_EVENTS: Final = 16
"""Hosts of one answer that are recorded, each once."""
_PAGE_PARTS: Final = frozenset({b"text/css", b"text/javascript", b"application/javascript", b"application/ecmascript"})
_PAGES: Final = frozenset({b"text/html", b"application/xhtml+xml", b"image/svg+xml", b"application/xml", b"text/xml"})


@dataclass(frozen=True)
class LinkRules:
    """The policy's `answers.links`, for one route.

    pages  HTML of this route is an answer too, and no page of the application
    """

    links: AllowedHosts
    images: AllowedHosts
    on_other: OnOther
    pages: bool


class AnswerLinks:
    """Observes or changes links in responses; a ResponseObserver."""

    def __init__(self, rules: LinkRules, events: EventSink) -> None:
        self._rules = rules
        self._events = events

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> LinkFilter | None:
        """Return the filter of a response that may show links; None for pictures and for the application's pages."""
        kind = media_type(answer.index.get(b"content-type", b""))
        if not is_text(kind) or kind in _PAGE_PARTS or (kind in _PAGES and not self._rules.pages):
            return None
        return LinkFilter(kind, self._scanner(exchange), LinkReport(exchange, self._events, self._rules.on_other))

    def reads_whole(self, answer: BackendResponseHead) -> bool:
        """Return whether a complete body needs no filter: it is no text, or a part of the application's pages."""
        kind = media_type(answer.index.get(b"content-type", b""))
        return not is_text(kind) or kind in _PAGE_PARTS or (kind in _PAGES and not self._rules.pages)

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Read nothing: what is read whole shows no links."""

    def frames(self, exchange: Exchange, inner: SocketMessageFilter | None) -> SocketMessageFilter:
        """Return the filter of a socket's messages, behind another."""
        report = LinkReport(exchange, self._events, self._rules.on_other)
        return LinkFrames(self._scanner(exchange), report, inner)

    def _scanner(self, exchange: Exchange) -> LinkScanner:
        own = exchange.host.decode("latin-1").rpartition("@")[2]
        own = own if own.startswith("[") else own.partition(":")[0]
        return LinkScanner(self._rules.links, self._rules.images, own.lower(), self._rules.on_other)


class LinkReport:
    """Records LINK_REMOVED, once for each host of an answer."""

    __slots__ = ("_events", "_exchange", "_on_other", "_told")

    def __init__(self, exchange: Exchange, events: EventSink, on_other: OnOther) -> None:
        self._exchange = exchange
        self._events = events
        self._on_other = on_other
        self._told: set[tuple[str, str]] = set()

    def say(self, found: list[Found]) -> None:
        """Record what was found. Hosts only: paths and queries may hold what must not be told."""
        for one in found:
            if (one.host, one.kind) in self._told or len(self._told) >= MAX_EVENTS:
                continue
            self._told.add((one.host, one.kind))
            outcome = Outcome.OBSERVED if self._on_other is OnOther.OBSERVE else Outcome.CHANGED
            detail = {
                "host": one.host,
                "kind": "image" if one.kind is IMAGE else "link",
                "done": self._on_other.value,
                "high_entropy": one.secretive,
            }
            self._events.record(about(self._exchange, Event.LINK_REMOVED, outcome, self._exchange.now, 0, detail))


class LinkFilter:
    """The filter of one body."""

    __slots__ = ("_inner", "_observes", "_report", "_scanner")

    def __init__(self, kind: bytes, scanner: LinkScanner, report: LinkReport) -> None:
        self._scanner = scanner
        self._report = report
        self._observes = scanner.observes
        self._inner = text_filter(kind, scanner, may_link)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the body; return what may be sent now."""
        shown = self._inner.feed(chunk)
        self._report.say(self._scanner.take())
        return chunk if self._observes else shown

    def finish(self) -> bytes:
        """Take the end of the body; return what was held."""
        rest = self._inner.finish()
        self._report.say(self._scanner.take())
        return b"" if self._observes else rest


class LinkFrames:
    """The filter of a socket's messages from the backend, behind redaction."""

    __slots__ = ("_frames", "_inner", "_observes", "_report", "_scanner")

    def __init__(self, scanner: LinkScanner, report: LinkReport, inner: SocketMessageFilter | None) -> None:
        self._scanner = scanner
        self._report = report
        self._observes = scanner.observes
        self._frames = FrameFilter(scanner)
        self._inner = inner

    def take(self, message: bytes, *, binary: bool) -> list[tuple[bytes, bool]]:
        """Return the messages that may be sent now, in order, each with whether it is binary."""
        given = self._inner.take(message, binary=binary) if self._inner is not None else [(message, binary)]
        return self._shown(given)

    def rest(self) -> list[tuple[bytes, bool]]:
        """Return the messages that wait; what comes later is still joined with them."""
        given = self._shown(self._inner.rest() if self._inner is not None else [])
        rest = self._frames.rest()
        self._report.say(self._scanner.take())
        return given if self._observes else [*given, *rest]

    def _shown(self, given: list[tuple[bytes, bool]]) -> list[tuple[bytes, bool]]:
        shown: list[tuple[bytes, bool]] = []
        for message, binary in given:
            shown += self._frames.take(message, binary=binary)
        self._report.say(self._scanner.take())
        return given if self._observes else shown

    def control(self, payload: bytes) -> bytes:
        """Return the payload of a ping or pong as the client may see it."""
        return self._inner.control(payload) if self._inner is not None else payload

    def close_reason(self, reason: bytes) -> bytes:
        """Return the reason of a close frame as the client may see it."""
        return self._inner.close_reason(reason) if self._inner is not None else reason
