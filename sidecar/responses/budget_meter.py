"""Counts what a model makes while it streams, and ends the stream where its budget ends.

Most events say nothing of tokens: the texts in them are found by one regular expression, and estimated. What a
provider reports replaces the estimate.
"""

from __future__ import annotations

import asyncio
import re
from itertools import islice
from typing import Any, Final

import orjson

from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.guards.budgets.budget_guard import ENDED, detail_of
from sidecar.guards.budgets.spend import Spend
from sidecar.messages.protocols.definition import Protocol
from sidecar.messages.refusals import spoken
from sidecar.redaction.filters import media_type
from sidecar.responses.interfaces import BackendResponseHead
from sidecar.responses.stream_end import StreamEnded, ended_events
from sidecar.responses.token_usage import ReportedUsage, TokenUsage, UsageCounter, report_from_ends
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.token_estimate import BYTES, PIECE, tokens_of, tokens_of_ascii
from sidecar.vocabulary import Code, Event, Outcome

LONGEST: Final = 256 * 1024
"""Bytes of one event, or of a JSON answer, that are kept; of a longer one its end, where the counts are."""

NAMES: Final = {
    "openai": "content|arguments|reasoning_content|reasoning|refusal",
    "openai-text": "text",
    "openai-responses": "delta",
    "anthropic": "text|thinking|partial_json",
    "google": "text",
    "ollama": "content|response|thinking",
}
"""The names under which the events of a protocol hold what the model makes."""

_LESSONS: Final = 16
"""Events of a stream from which it is learned what the next ones look like."""
OTHERS: Final = "content|text|delta|response"
_EVENT: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BLANKS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LINE: Final = re.compile(rb"\n")
_REPORT: Final = re.compile(rb'"(?:usage|usageMetadata)" ?: ?\{')
_REPORT_OF_LINES: Final = re.compile(rb'"eval_count" ?:|"usage" ?: ?\{')
_DATA: Final = re.compile(rb"(?:^|[\r\n])data: ?([^\r\n]*)")
_ANY_TEXT: Final = rb'"(?:%b)" ?: ?"([^"\\]*(?:\\.[^"\\]*)*)"'


class BudgetMeter:
    """The ResponseObserver of a route whose requests hold parts of budgets; it takes the place of its TokenUsage."""

    def __init__(self, counter: UsageCounter, ledger: BudgetLedger, events: EventSink, protocol: str) -> None:
        self._usage = TokenUsage(counter)
        self._counter = counter
        self._ledger = ledger
        self._events = events
        self._protocol = protocol

    @property
    def counter(self) -> UsageCounter:
        """What counts the tokens that are read."""
        return self._counter

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Return the filter that counts an answer; what is no success has used nothing."""
        if exchange.spend is None:
            return self._usage.for_answer(exchange, answer)
        if not 200 <= answer.status < 300:
            return None
        kind = media_type(answer.index.get(b"content-type", b""))
        meter = self._meter(exchange, kind)
        exchange.spend.answered = True
        exchange.releases.insert(0, meter.settle)  # before what the request holds is given back
        return meter

    def _meter(self, exchange: Exchange, kind: bytes) -> _Meter:
        protocol = spoken(self._protocol, exchange.head.path)
        if kind == b"text/event-stream":
            return _Events(exchange, self._counter, self._ledger, self._events, protocol)
        if kind in (b"application/x-ndjson", b"application/jsonl"):
            return _Lines(exchange, self._counter, self._ledger, self._events, protocol)
        if kind == b"application/json" or kind.endswith(b"+json"):
            return _Whole(exchange, self._counter, self._ledger, self._events, protocol)
        return _Bytes(exchange, self._counter, self._ledger, self._events, protocol)

    def reads_whole(self, answer: BackendResponseHead) -> bool:
        """A JSON body is read as a whole; events are looked at one by one."""
        kind = media_type(answer.index.get(b"content-type", b""))
        return kind != b"text/event-stream"

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Count a complete body."""
        if exchange.spend is None:
            self._usage.read_whole(exchange, answer, body)
            return
        meter = self.for_answer(exchange, answer)
        if isinstance(meter, _Meter):
            meter.finish_with(body)


class _Meter:
    """A ResponseFilter that counts one answer; `settle` counts it in the metrics, once."""

    def __init__(
        self, exchange: Exchange, counter: UsageCounter, ledger: BudgetLedger, events: EventSink, protocol: Protocol
    ) -> None:
        self._exchange: Exchange | None = exchange
        self._id = exchange.id
        self._spend: Spend = exchange.spend
        self._counter = counter
        self._ledger = ledger
        self._events = events
        self._protocol = protocol
        self._told = ReportedUsage()
        self._reported = False
        self._complete = False
        self._waits = False  # the client's next bytes wait for the store
        self._estimated = 0  # output that the provider has not reported, among what is counted

    def feed(self, chunk: bytes) -> bytes:
        raise NotImplementedError

    def finish(self) -> bytes:
        """Take the end of the answer: it was not cut, so its length is learned."""
        self._complete = True
        self._last()
        self._ledger.learn(self._spend.model, self._spend.made)
        self.settle()
        return b""

    def finish_with(self, body: bytes) -> None:
        """Count a body that is here as a whole, and passes."""
        self._complete = True
        self._read(body)
        self.finish()

    def _read(self, body: bytes) -> None:
        """Count a complete body."""

    def _last(self) -> None:
        """Count what was kept."""

    def _learn(self, value: Any) -> None:
        """Take over what a provider reports in an event or an answer."""
        told = self._told
        told.learn(value)
        if told.input or told.output:
            self._reported = True
            spend = self._spend
            self._estimated = 0
            spend.report(told.whole or spend.given, told.output, told.cached, told.written)

    def settle(self) -> None:
        """Count what was used, and give back what is held beyond it."""
        exchange, self._exchange = self._exchange, None  # no reference cycle is left for the collector
        if exchange is None:
            return
        spend, told = self._spend, self._told
        if not told.input:
            told.input = told.whole = spend.given
        told.output = spend.made
        told.model = told.model or spend.model
        used = self._counter.count(exchange.organization, told, spend.price)
        if used is not None:
            exchange.usage = used._replace(estimated=not self._reported or self._estimated > 0)
        spend.settle()

    # --- the end of a budget --------------------------------------------------------------------

    def _made(self, count: int) -> bool:
        """Count output; return whether the stream has to end or to wait here."""
        spend = self._spend
        spend.made += count
        self._estimated += count
        while spend.made >= spend.ask_at and spend.waiting is None and spend.ended is None:
            spend.top_up()
        return spend.made >= spend.ceiling

    def _end(self, before: bytes) -> StreamEnded:
        """End the stream after `before`, and record it."""
        exchange, spend = self._exchange, self._spend
        if exchange is not None and spend.ended is not None:
            detail = {**detail_of(spend.ended), "input": spend.given, "output": spend.made}
            event = about(exchange, Event.BUDGET_EXCEEDED, Outcome.REFUSED, exchange.now, 200, detail)
            self._events.record(event)
        return self._words(before)

    def _words(self, before: bytes) -> StreamEnded:
        return StreamEnded(before, complete=False)

    async def _wait(self, before: bytes, made: int) -> None:
        """Wait for the store's answer; end the stream after `before`, with `made` tokens of output, if it is no."""
        spend, self._waits = self._spend, False
        while not (self._complete or spend.closed):
            if spend.waiting is not None:
                await asyncio.wait({spend.waiting})
            elif spend.made < spend.ceiling:
                return
            elif spend.ended is not None:
                spend.made = made  # what came behind it is not sent
                raise self._end(before)
            else:
                spend.top_up()

    def _stop_or_wait(self, before: bytes) -> None:
        """End the stream after `before`, or let the client's next bytes wait for the store."""
        exchange = self._exchange
        if self._spend.ended is not None and self._spend.waiting is None:
            raise self._end(before)
        if exchange is not None and not self._waits:
            self._waits = True
            made = self._spend.made
            exchange.pending.append(lambda: self._wait(before, made))


class _Pieces(_Meter):
    """A stream of events, each of which ends with a mark."""

    mark = _EVENT
    report = _REPORT
    hint = b'"usage'  # what is in every report, and is found faster

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._rest = b""
        self._pattern = _texts(self._protocol.name)
        self._texts = self._pattern.findall
        self._before = b""  # what an earlier event, which reported nothing, had around its only text
        self._behind = b""
        self._lessons = _LESSONS

    def feed(self, chunk: bytes) -> bytes:
        rest = self._rest
        before, behind = self._before, self._behind
        if before and not rest and chunk.startswith(before) and chunk.endswith(behind):
            # Most events differ in their text alone.
            text = chunk[len(before) : -len(behind)]
            if text.isascii() and b'"' not in text and b"\\" not in text and b"\n" not in text and b"\r" not in text:
                count = tokens_of_ascii(text)
                spend = self._spend
                if spend.made + count < spend.ask_at:
                    spend.made += count
                    self._estimated += count
                    return chunk
        text = rest + chunk if rest else chunk
        whole = text if self._ends(text) else text[: self._boundary(text)]
        if len(whole) < len(text):
            self._rest = text[len(whole) :][-LONGEST:]
            if not whole:
                return chunk
        elif rest:
            self._rest = b""
        spend = self._spend
        told = whole.find(self.hint)
        if told < 0 or self.report.search(whole, told) is None:
            count = self._count(whole)
            if spend.made + count < spend.ask_at:
                spend.made += count
                self._estimated += count
                if self._lessons and not rest:
                    self._see(whole, chunk)
                return chunk
        self._one_by_one(whole, chunk, len(rest))
        return chunk

    def _see(self, whole: bytes, chunk: bytes) -> None:
        """Remember what is around the text of an event that came alone and has one text."""
        self._lessons -= 1
        found = self._pattern.search(whole)
        if found is None or whole is not chunk or self._pattern.search(whole, found.end() - 1) is not None:
            return
        if sum(1 for _ in islice(self.mark.finditer(whole), 2)) == 1:
            start, end = found.span(1)
            self._before, self._behind = whole[:start], whole[end:]

    def _one_by_one(self, whole: bytes, chunk: bytes, before: int) -> None:
        """Count events until the budget ends; `chunk` begins after `before` bytes of `whole`."""
        at = 0
        for mark in self.mark.finditer(whole):
            event, at = whole[at : mark.end()], mark.end()
            count = self._count(event)
            if self.report.search(event) is not None:
                self._learn(self._value(event))
                count = 0
            if self._made(count):
                self._stop_or_wait(chunk[: max(0, at - before)])

    def _count(self, raw: bytes) -> int:
        total = 0
        for piece in self._texts(raw):
            if len(piece) <= PIECE:
                total += 1 if piece else 0
            elif piece.isascii() and b"\\" not in piece:
                total += tokens_of_ascii(piece)
            else:
                total += tokens_of(_plain(piece))
        return total

    def _read(self, body: bytes) -> None:
        self.feed(body)

    def _last(self) -> None:
        rest, self._rest = self._rest, b""
        if rest:
            if self.report.search(rest) is not None:
                self._learn(self._value(rest))
            else:
                count = self._count(rest)
                self._spend.made += count
                self._estimated += count

    def _value(self, event: bytes) -> Any:
        raise NotImplementedError

    def _ends(self, text: bytes) -> bool:
        raise NotImplementedError

    def _boundary(self, text: bytes) -> int:
        raise NotImplementedError


class _Events(_Pieces):
    """Server-sent events (WHATWG HTML §9.2.6)."""

    def _ends(self, text: bytes) -> bool:
        return text.endswith((b"\n\n", b"\r\n\r\n"))

    def _boundary(self, text: bytes) -> int:
        found = [(at, mark) for mark in _BLANKS if (at := text.rfind(mark)) >= 0]
        return max((at + len(mark) for at, mark in found), default=0)

    def _value(self, event: bytes) -> Any:
        return _json(b"\n".join(_DATA.findall(event)))

    def _words(self, before: bytes) -> StreamEnded:
        return ended_events(before, self._protocol, Code.RATE_LIMIT_EXCEEDED, self._id, ENDED)


class _Lines(_Pieces):
    """Lines of JSON, as Ollama streams them."""

    mark = _LINE
    report = _REPORT_OF_LINES
    hint = b'"'

    def _ends(self, text: bytes) -> bool:
        return text.endswith(b"\n")

    def _boundary(self, text: bytes) -> int:
        return text.rfind(b"\n") + 1

    def _value(self, event: bytes) -> Any:
        return _json(event)

    def _words(self, before: bytes) -> StreamEnded:
        return StreamEnded(before + orjson.dumps({"error": ENDED}) + b"\n", complete=True)


class _Whole(_Meter):
    """A JSON answer, which is not cut: its work is done when it comes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._text = bytearray()
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        self._read(chunk)
        return chunk

    def _read(self, body: bytes) -> None:
        self._size += len(body)
        self._text += body
        if len(self._text) > LONGEST:
            del self._text[:-LONGEST]

    def _last(self) -> None:
        text = bytes(self._text)
        self._text.clear()
        value = _json(text) if len(text) == self._size else report_from_ends(text)
        for each in value if isinstance(value, list) else (value,):  # Google streams a JSON array, too
            self._learn(each)
        if not self._reported:
            made = sum(tokens_of(_plain(piece)) for piece in _texts(self._protocol.name).findall(text))
            self._spend.made = made if len(text) == self._size else max(made, self._size // BYTES)
            self._estimated = self._spend.made


class _Bytes(_Meter):
    """An answer of another type: counted by its size, and broken off where its budget ends."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._odd = 0

    def feed(self, chunk: bytes) -> bytes:
        count, self._odd = divmod(self._odd + len(chunk), BYTES)
        if self._made(count):
            self._stop_or_wait(chunk)
        return chunk

    def _read(self, body: bytes) -> None:
        self._spend.made += len(body) // BYTES
        self._estimated = self._spend.made


_PATTERNS: Final[dict[str, re.Pattern[bytes]]] = {
    name: re.compile(_ANY_TEXT % names.encode()) for name, names in {**NAMES, "": OTHERS}.items()
}


def _texts(protocol: str) -> re.Pattern[bytes]:
    """Return what finds the texts of a protocol's events, as they are in JSON."""
    return _PATTERNS.get(protocol, _PATTERNS[""])


def _plain(piece: bytes) -> str:
    """Return the text of a JSON string without its quotes."""
    if b"\\" in piece:
        try:
            return str(orjson.loads(b'"' + piece + b'"'))
        except orjson.JSONDecodeError:
            pass
    return piece.decode("utf-8", "replace")


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
