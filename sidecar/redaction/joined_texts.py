"""Texts that arrive in pieces, one piece a record: what no single record shows is found in the joined text.

Records leave whole and in order. One waits only while one of its texts ends in what may be the
beginning of a hit, and then those behind it wait too; a record without a hit leaves byte for byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.redaction.prefilter import Question
from sidecar.redaction.records import Piece, Place, rewritten
from sidecar.redaction.scanner import OUTSIDE, Hit, Scanner, context, rewrite, tally

MAX_WAITING_BYTES: Final = 256 * 1024
MAX_WAITING_RECORDS: Final = 4096
MAX_PLACES: Final = 256
_SHORT: Final = 4
"""Fewer live bytes make no record wait at a place where no protocol streams a text: ids and dates end so by chance."""
_TEMPLATES: Final = 4
LIVE_AT_THE_BOUND: Final = "undecided"


@dataclass(slots=True, eq=False)
class Record:
    """One record on its way: its bytes, its texts, and what becomes of them."""

    raw: bytes
    pieces: list[Piece]
    binary: bool = False
    changed: dict[int, bytes] = field(default_factory=dict)
    waits: int = 0  # pieces that are not decided

    def leave(self) -> bytes:
        """Return the bytes to send: the record as it came, or written again with its changed texts."""
        return rewritten(self.raw, self.pieces, self.changed) if self.changed else self.raw


class _Text:
    """One text: the pieces whose end is not decided, and the state of their scan."""

    __slots__ = ("before", "covered", "pieces", "text")

    def __init__(self) -> None:
        self.pieces: deque[tuple[Record, int]] = deque()
        self.text = b""
        self.before = OUTSIDE
        self.covered = 0


@dataclass(frozen=True, slots=True)
class _Template:
    """What surrounds the one text that changes from record to record."""

    start: bytes
    end: bytes
    quoted: bool
    text: _Text


class JoinedTexts:
    """Scan the texts of a stream of records across their borders; bounded in bytes, records and texts.

    At a bound nothing waits any longer: what was live is replaced, as if it had been a hit, and
    counted as `undecided`.
    """

    __slots__ = ("_bytes", "_last", "_places", "_question", "_queue", "_scanner", "_templates", "counts")

    def __init__(self, scanner: Scanner, counts: dict[str, int], question: Question | None = None) -> None:
        self._scanner = scanner
        self._question = question
        self._places: dict[Place, _Text] = {}
        self._queue: deque[Record] = deque()
        self._bytes = 0
        self._last = b""
        self._templates: list[_Template] = []
        self.counts = counts

    @property
    def idle(self) -> bool:
        """Whether no record waits."""
        return not self._queue

    def skips(self, raw: bytes) -> bool:
        """Return whether a record may leave unread, as most do; if so, its text is joined with the others.

        It may when it differs from earlier ones in one text only, and nothing is suspicious in that.
        """
        if self._queue:
            return False
        for template in self._templates:
            start, end = len(template.start), len(raw) - len(template.end)
            if start <= end and raw.startswith(template.start) and raw.endswith(template.end):
                piece = raw[start:end]
                if b"\n" in piece or b"\r" in piece or (template.quoted and (b'"' in piece or b"\\" in piece)):
                    return False
                text = template.text
                joined = text.before + piece
                if text.covered or self._question is None:
                    return False
                if self._question(joined):
                    hits, live = self._scanner.scan(piece, text.before, False)
                    if hits or live < len(piece):
                        return False
                text.before = context(OUTSIDE, joined)
                return True
        return False

    def push(self, record: Record) -> list[Record]:
        """Take the next record; return those that may leave now."""
        for number in range(len(record.pieces)):
            self._extend(record, number)
        if not record.waits and not self._queue:
            if not record.changed:
                self._learn(record)
            return [record]
        self._queue.append(record)
        self._bytes += len(record.raw)
        if self._bytes > MAX_WAITING_BYTES or len(self._queue) > MAX_WAITING_RECORDS:
            self._decide(LIVE_AT_THE_BOUND)
        return self._leaving()

    def finish(self) -> list[Record]:
        """End all texts: nothing that comes belongs to them any more."""
        self._decide("")
        self._places.clear()
        self._templates.clear()
        self._last = b""
        return self._leaving()

    def decided(self) -> list[Record]:
        """Let go of what waits, as if the texts ended here; what comes is still joined with them."""
        self._decide("")
        return self._leaving()

    def _learn(self, record: Record) -> None:
        """Remember what surrounds a text when the record before differs in it only."""
        raw, last = record.raw, self._last
        self._last = raw
        if self._question is None or not last or raw == last:
            return
        for place, start, end, _, quoted, patient in record.pieces:
            if patient and start >= 0 and last.startswith(raw[:start]) and last.endswith(raw[end:]):
                text = self._places.get(place)
                if text is not None:
                    self._templates.insert(0, _Template(raw[:start], raw[end:], quoted, text))
                    del self._templates[_TEMPLATES:]
                return

    def _extend(self, record: Record, number: int) -> None:
        piece = record.pieces[number]
        known = self._places.get(piece.place)
        if known is None:
            if len(self._places) >= MAX_PLACES:
                self._forget()
            known = self._places[piece.place] = _Text()
        text = piece.text
        whole = known.text + text if known.text else text
        hits, live = self._scanner.scan(whole, known.before, False)
        if not known.pieces and not hits and not known.covered:
            waits = len(whole) - live
            if not waits or not (piece.patient or self._waits(known.before, whole, waits)):
                known.before = context(known.before, whole)
                return
        known.pieces.append((record, number))
        record.waits += 1
        known.text = whole
        self._settle(known, hits, live)

    def _waits(self, before: bytes, text: bytes, waits: int) -> bool:
        """Return whether what may begin a secret is too long to be there by chance; it may have begun before."""
        if waits == len(text) < _SHORT:
            joined = before + text
            waits = len(joined) - self._scanner.scan(joined, OUTSIDE, False)[1]
        return waits >= _SHORT

    def _settle(self, text: _Text, hits: Sequence[Hit], live: int) -> None:
        """Let go of the pieces that end before the text turns live, rewritten where hits touch them."""
        done = 0
        while text.pieces and done + len(text.pieces[0][0].pieces[text.pieces[0][1]].text) <= live:
            record, number = text.pieces.popleft()
            piece = record.pieces[number].text
            start, done = done, done + len(piece)
            edit = rewrite(piece, _shifted(hits, start), len(piece), text.covered)
            tally(self.counts, edit.kinds)
            if edit.kinds or text.covered:
                record.changed[number] = edit.clean
            text.covered = edit.covered
            text.before = context(text.before, piece)
            record.waits -= 1
        text.text = text.text[done:]

    def _decide(self, otherwise: str) -> None:
        for text in self._places.values():
            if not text.pieces:
                continue
            size = len(text.text)
            hits, live = self._scanner.scan(text.text, text.before, False)
            if otherwise and live < size:
                hits = [*(hit for hit in hits if hit.start < live), Hit(live, size, otherwise)]
            else:
                hits, _ = self._scanner.scan(text.text, text.before, True)
            self._settle(text, hits, size)

    def _forget(self) -> None:
        """Drop the texts in which nothing is live: they start anew; decide all when that frees nothing."""
        idle = [place for place, text in self._places.items() if not text.pieces]
        if not idle:
            self._decide(LIVE_AT_THE_BOUND)
            idle = list(self._places)
        for place in idle:
            del self._places[place]
        self._templates.clear()

    def _leaving(self) -> list[Record]:
        leaving: list[Record] = []
        while self._queue and not self._queue[0].waits:
            record = self._queue.popleft()
            self._bytes -= len(record.raw)
            leaving.append(record)
        return leaving


def leave(records: Iterable[Record]) -> list[bytes]:
    """Return the bytes of records that leave."""
    return [record.leave() for record in records]


def _shifted(hits: Sequence[Hit], start: int) -> list[Hit]:
    """Return the hits that begin at or after `start`, counted from there; `covered` carries the others."""
    return [Hit(hit.start - start, hit.end - start, hit.kind) for hit in hits if hit.start >= start]
