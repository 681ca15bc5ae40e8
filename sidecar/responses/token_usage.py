"""Tokens that providers report in their answers, counted as they pass: nothing is changed, held back or estimated."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from sidecar.exchange import Exchange, TokensUsed
from sidecar.guard import ResponseFilter
from sidecar.messages.protocols.catalogue import KNOWN
from sidecar.messages.protocols.definition import Usage, usage
from sidecar.prices import Price, PriceTable
from sidecar.redaction.filters import media_type
from sidecar.responses.interfaces import BackendResponseHead
from sidecar.services import Count, CountCost

GOOGLE: Final = usage("$.usageMetadata", "promptTokenCount", "candidatesTokenCount", "$.modelVersion")
PLACES: Final[tuple[Usage, ...]] = tuple(
    dict.fromkeys((*(each for protocol in KNOWN for each in protocol.usage), GOOGLE))
)
"""Every place where a provider's response or event reports tokens; a response matches at most one."""

_BY_ROOT: Final = tuple(
    (place.input.steps[0], frozenset((place.input.steps[-1], place.output.steps[-1])), place) for place in PLACES
)
"""Each place with the first name of its paths, which most responses do not have, and the last ones."""

WHOLE: Final = 256 * 1024
HEAD: Final = 4 * 1024
TAIL: Final = 64 * 1024
"""Up to WHOLE bytes of an answer (or of one event) are kept; of a longer one its two ends, where the model and
the counts are: before them are embeddings, pictures, long texts."""
LARGEST: Final = 2**53

_REPORTS: Final = re.compile(rb'"(usage|usageMetadata)"\s*:\s*\{')
_MODEL: Final = re.compile(rb'"(?:model|modelVersion)"\s*:\s*"([^"\\]{1,200})"')
_BREAK: Final = re.compile(rb"\r\n|\n|\r")
_BLANK: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_READABLE: Final = frozenset({b"", b"identity", b"gzip", b"x-gzip", b"deflate"})
"""Content codings that the proxy opens before a filter; an answer in another one is not read."""


class UsageCounter:
    """Counts what one provider's models have used, in the metrics and on the exchange, and what it costs."""

    def __init__(self, provider: str, tokens: Count, cost: CountCost, prices: PriceTable) -> None:
        self._provider = provider
        self._tokens = tokens
        self._cost = cost
        self._prices = prices

    def count(self, organization: str, told: ReportedUsage, otherwise: Price | None = None) -> TokensUsed | None:
        """Count what was reported for one request; `otherwise`: the price if the model that answered has none."""
        if not (told.input or told.output):
            return None
        if told.input:
            self._tokens(organization, self._provider, told.model, "input", told.input)
        if told.output:
            self._tokens(organization, self._provider, told.model, "output", told.output)
        price = (self._prices.find(told.model) if told.model else None) or otherwise
        cost = None if price is None else price.cost(told.whole, told.output, told.cached, told.written)
        if cost:
            self._cost(organization, self._provider, told.model, cost)
        return TokensUsed(told.model, told.whole, told.output, cost)


class TokenUsage:
    """The ResponseObserver of one provider's answers: each answer is counted once, at its end or where it was cut."""

    def __init__(self, counter: UsageCounter) -> None:
        self._counter = counter

    @property
    def counter(self) -> UsageCounter:
        """What counts the tokens that are read."""
        return self._counter

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Return a reader of a successful JSON or event-stream response; None for any other."""
        kind = media_type(answer.index.get(b"content-type", b""))
        coding = answer.index.get(b"content-encoding", b"").lower()
        if not 200 <= answer.status < 300 or coding not in _READABLE:
            return None
        counter: _Events | _Whole
        if kind == b"text/event-stream":
            counter = _Events(exchange, self._counter)
        elif kind == b"application/json" or kind.endswith(b"+json"):
            counter = _Whole(exchange, self._counter)
        else:
            return None
        exchange.releases.append(counter.settle)  # a client that leaves does not undo what was reported
        return counter

    def reads_whole(self, answer: BackendResponseHead) -> bool:  # noqa: ARG002  whatever it is
        """Return True: `read_whole` can count any complete response."""
        return True

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Count the tokens of a complete JSON response."""
        if body.find(b'"usage') < 0 or not 200 <= answer.status < 300:
            return
        kind = answer.index.get(b"content-type", b"")
        if kind != b"application/json":
            kind = media_type(kind)
        if kind == b"application/json" or kind.endswith(b"+json"):
            told = ReportedUsage()
            _read(body, told)
            exchange.usage = self._counter.count(exchange.organization, told)


class ReportedUsage:
    """The tokens that one response has reported so far. Streams report running totals: the newest counts."""

    __slots__ = ("cached", "input", "model", "output", "whole", "written")

    def __init__(self) -> None:
        self.input = 0
        self.whole = 0  # the input with what some providers report beside it: what their cache had, and took
        self.cached = 0  # of the whole: read from the provider's cache
        self.written = 0  # of the whole: written into it
        self.output = 0
        self.model = ""

    def learn(self, value: Any) -> None:
        """Take over the totals and the model of one parsed response or event, at the places of known protocols."""
        if type(value) is not dict:
            return
        for root, names, place in _BY_ROOT:
            if root not in value:
                continue
            report = value[root]
            if type(report) is dict and len(place.input.steps) == 2 and names.isdisjoint(report):
                continue
            given, made = _tokens(place.input.first(value)), _tokens(place.output.first(value))
            if given is None and made is None:
                continue
            if given is not None:
                self._read_input(given, _report_of(value, place))
            self.output = self.output if made is None else made
            model = place.model.first(value)
            if isinstance(model, str) and model:
                self.model = model

    def _read_input(self, given: int, report: Any) -> None:
        """Take the input of a report, with the part of it that the provider's cache had."""
        cached = written = 0
        whole = given
        if type(report) is dict:
            for name in _DETAILS:
                details = report.get(name)
                if type(details) is dict:
                    cached = _tokens(details.get("cached_tokens")) or 0
            cached = cached or _tokens(report.get("cachedContentTokenCount")) or 0
            # Anthropic's input_tokens are those beside its cache.
            read = _tokens(report.get("cache_read_input_tokens")) or 0
            written = _tokens(report.get("cache_creation_input_tokens")) or 0
            cached, whole = cached + read, given + read + written
        self.input, self.whole, self.cached, self.written = given, whole, min(cached, whole), written


class _Count:
    """What one answer has reported, counted once."""

    __slots__ = ("_counter", "_cut", "_exchange", "_text", "told")

    def __init__(self, exchange: Exchange, counter: UsageCounter) -> None:
        self._exchange: Exchange | None = exchange
        self._counter = counter
        self._text = bytearray()
        self._cut = False
        self.told = ReportedUsage()

    def settle(self) -> None:
        exchange, self._exchange = self._exchange, None  # no reference cycle is left for the collector
        if exchange is not None:
            exchange.usage = self._counter.count(exchange.organization, self.told)


class _Whole(_Count):
    """The filter of a JSON answer, which passes. One that was cut off reports nothing: its counts are at its end."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> bytes:
        self._text += chunk
        self._cut = _shorten(self._text) or self._cut
        return chunk

    def finish(self) -> bytes:
        _report(bytes(self._text), cut=self._cut, told=self.told)
        self._text.clear()
        self.settle()
        return b""


class _Events(_Count):
    """The filter of server-sent events (WHATWG HTML §9.2.6), which pass; most say nothing of tokens: they are not read.

    _between  no part of an event is kept
    """

    __slots__ = ("_between",)

    def __init__(self, exchange: Exchange, counter: UsageCounter) -> None:
        super().__init__(exchange, counter)
        self._between = True

    def feed(self, chunk: bytes) -> bytes:
        # Whole events, as most come, and none that reports tokens.
        if self._between and chunk[-2:] == b"\n\n" and chunk.find(b'"usage') < 0:
            return chunk
        self._read(chunk)
        return chunk

    def finish(self) -> bytes:
        self._event(bytes(self._text))
        self._text.clear()
        self.settle()
        return b""

    def _read(self, chunk: bytes) -> None:
        text = self._text
        at, searched = 0, max(0, len(text) - 3)
        text += chunk
        while (blank := _BLANK.search(text, max(at, searched))) is not None:
            self._event(bytes(text[at : blank.end()]))
            at = blank.end()
        del text[:at]
        self._cut = _shorten(text) or self._cut
        self._between = not text

    def _event(self, raw: bytes) -> None:
        cut, self._cut = self._cut, False
        if _REPORTS.search(raw) is None:
            return
        lines = [line[5:].removeprefix(b" ") for line in _BREAK.split(raw) if line.startswith(b"data:")]
        _report(b"\n".join(lines), cut=cut, told=self.told)


def _shorten(text: bytearray) -> bool:
    if len(text) <= WHOLE:
        return False
    del text[HEAD:-TAIL]
    return True


def _report(text: bytes, *, cut: bool, told: ReportedUsage) -> None:
    """Read the usage of a JSON text, or of its two ends."""
    if _REPORTS.search(text) is None:
        return
    if cut:
        told.learn(report_from_ends(text))
        return
    _read(text, told)


def _read(text: bytes, told: ReportedUsage) -> None:
    """Read the usage of a whole JSON text."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return  # it reports nothing: what was used is estimated
    for each in value if isinstance(value, list) else (value,):  # Google streams a JSON array, too
        told.learn(each)


def report_from_ends(text: bytes) -> dict[str, Any]:
    """Read the last report of a text whose middle is missing.

    A quote within a JSON string is escaped, so a model's text cannot look like a report.
    """
    found = [match for match in _REPORTS.finditer(text) if text[match.start() - 1 : match.start()] != b"\\"]
    if not found:
        return {}
    try:
        report, _ = json.JSONDecoder().raw_decode(text[found[-1].end() - 1 :].decode("utf-8", "replace"))
    except ValueError:
        return {}
    named = _MODEL.search(text)
    model = named.group(1).decode("utf-8", "replace") if named is not None else ""
    return {found[-1].group(1).decode(): report, "model": model, "modelVersion": model}


def _report_of(value: Any, place: Usage) -> Any:
    """Return the object in which a place's counts are."""
    for step in place.input.steps[:-1]:
        value = value.get(step) if type(value) is dict else None
    return value


def _tokens(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < LARGEST else None
