"""Texts that arrive in pieces, one piece a record: what no single record shows is found in the joined text.

Records leave whole and in order. One waits only while one of its texts ends in what may be the
beginning of a hit, and then those behind it wait too; a record without a hit leaves byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sidecar.redaction.prefilter import Question
from sidecar.redaction.record_templates import Template, template_of
from sidecar.redaction.records import PLAIN, Piece, Place, clean_framing, clean_record
from sidecar.redaction.scanner import MARK, OUTSIDE, Hit, Scanner, context, rewrite, tally
from sidecar.redaction.text_names import TextNames
from sidecar.redaction.waiting_texts import Record, Text, leave

MAX_WAITING_BYTES: Final = 256 * 1024
MAX_WAITING_RECORDS: Final = 4096
MAX_PLACES: Final = 256
_SHORT: Final = 4
"""Fewer live bytes make no record wait at a place where no protocol streams a text: ids and dates end so by chance."""
_TEMPLATES: Final = 4
_LESSONS: Final = 32
"""Templates that one stream is searched for: one that has none would pay for the search with each record."""
LIVE_AT_THE_BOUND: Final = "undecided"


class JoinedTexts:
    """Scan the texts of a stream of records across their borders; bounded in bytes, records and texts.

    At a bound nothing waits any longer: what was live is replaced, as if it had been a hit, and
    counted as `undecided`.
    """

    __slots__ = (
        "_bytes",
        "_last",
        "_lessons",
        "_names",
        "_others",
        "_places",
        "_question",
        "_queue",
        "_scanner",
        "_twofold",
        "_usual",
        "_written",
        "counts",
    )

    def __init__(self, scanner: Scanner, counts: dict[str, int], question: Question | None = None) -> None:
        self._usual: Template | None = None  # that was learned last: most records are like it
        self._twofold = False  # some values have to be read in two ways
        self._bytes = 0  # of the records that wait
        self._question = question
        self._others: list[Template] = []
        self._scanner = scanner
        self._places: dict[Place, Text] = {}
        self._written: dict[Place, Text] = {}
        """Where a value looks like JSON and may be text: all values of the place, as they are written."""
        self._names = TextNames()
        self._queue: list[Record] = []
        self._last: Record | None = None  # that was read
        self._lessons = _LESSONS
        self.counts = counts

    @property
    def idle(self) -> bool:
        """Whether no record waits."""
        return not self._queue

    def take(self, raw: bytes) -> bytes | None:
        """Take a record that is like earlier ones, as most are, without reading it; return what may leave now.

        None: it has to be read. Only what differs is joined with the texts before: the rest was looked at
        in the records that it is like.
        """
        usual = self._usual
        if usual is None or self._twofold or (self._bytes and self._plain_waits()):
            return None
        ends = usual.ends(raw)
        if ends is not None:
            return self._alike(raw, usual, ends)
        for template in self._others:
            ends = template.ends(raw)
            if ends is not None:
                return self._alike(raw, template, ends)
        return None

    def _plain_waits(self) -> bool:
        """Return whether a text waits that a value which looks like JSON may go on."""
        return any(text.pieces and place[-1:] == (PLAIN,) for place, text in self._places.items())

    def _alike(self, raw: bytes, template: Template, ends: list[int]) -> bytes | None:
        if template.names and self._repeats_name(raw, template, ends):
            return None
        if not self._bytes and self._is_clear(raw, template, ends):
            return raw
        return b"".join(leave(self._pushed(Record(raw, template.pieces(raw, ends)))))

    def _repeats_name(self, raw: bytes, template: Template, ends: list[int]) -> bool:
        at = template.begin
        for hole, end in zip(template.holes, ends, strict=True):
            if hole.names and self._names.is_seen(raw[at:end]):
                return True
            at = end + hole.skip
        return False

    def _is_clear(self, raw: bytes, template: Template, ends: list[int]) -> bool:
        """Return whether nothing in the texts of a record has to be looked at; they go on behind it then."""
        question = self._question
        assert question is not None  # there are no templates without it
        at = template.begin
        passed: list[bytes] = []
        for number, hole in enumerate(template.holes):
            end = ends[number]
            text = hole.text
            if text is not None:
                if text.text or text.covered:
                    return False
                joined = text.before + raw[at:end]
                if question(joined):
                    return False
                passed.append(joined)
            at = end + hole.skip
        at = 0
        for hole in template.holes:
            text = hole.text
            if text is not None:
                text.before = context(OUTSIDE, passed[at])
                at += 1
        return True

    def read(self, raw: bytes, read: Callable[[bytes], list[Piece]], *, binary: bool = False) -> list[Record]:
        """Take the next record, whose texts `read` returns; return those that may leave now."""
        scanner, counts = self._scanner, self.counts
        shown, suspicious = clean_framing(raw, scanner, counts, read, waits=not self.idle)
        record = Record(shown, read(shown), binary=binary)
        if suspicious:
            record.clean = lambda left: clean_record(left, scanner, counts, read)
        return self.push(record)

    def push(self, record: Record) -> list[Record]:
        """Take the next record, whose framing is clean; return those that may leave now."""
        record.pieces = self._names.told_apart(record.pieces)
        if self._names.switches or self._names.parted:
            self._part()
        leaving = self._pushed(record)
        if not (record.waits or record.changed or record.clean or self._queue):
            self._learn(record)
        return leaving

    def _part(self) -> None:
        """Let texts go on as texts of their own, from what they were part of."""
        for place, old in self._names.switches:
            known = self._places.get(place)
            if known is not None and len(self._places) < MAX_PLACES:
                text = self._places.setdefault(old, Text(self._scanner))
                if not text.pieces:
                    text.before = context(known.before, known.text)
        self._names.switches.clear()
        self._names.parted = False
        self._unlearn()
        self._last = None

    def _pushed(self, record: Record) -> list[Record]:
        for number in range(len(record.pieces)):
            self._extend(record, number)
        if not record.waits and not self._queue:
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
        self._written.clear()
        self._twofold = False
        self._names.forget()
        self._unlearn()
        self._last = None
        return self._leaving()

    def decided(self) -> list[Record]:
        """Let go of what waits, as if the texts ended here; what comes is still joined with them."""
        self._decide("")
        return self._leaving()

    def _learn(self, record: Record) -> None:
        """Remember what this record and the one before have in common."""
        last, self._last = self._last, record
        if self._question is None or last is None or not self._lessons:
            return
        self._lessons -= 1
        template = template_of(record, last, self._places)
        if template is not None:
            if self._usual is not None:
                self._others = [self._usual, *self._others[: _TEMPLATES - 2]]
            self._usual = template

    def _unlearn(self) -> None:
        """Forget the templates: the texts in them are no longer those of their places."""
        self._usual = None
        self._others = []

    def _extend(self, record: Record, number: int) -> None:
        piece = record.pieces[number]
        if piece.written:
            self._extend_written(record, number)
            return
        known = self._places.get(piece.place)
        if known is None:
            if len(self._places) >= MAX_PLACES:
                self._forget()
            known = self._places[piece.place] = Text(self._scanner)
        self._add(known, record, number)
        if self._written and piece.place in self._written:
            self._extend_written(record, number)

    def _extend_written(self, record: Record, number: int) -> None:
        """Add a value to all that are written at its place, if a stored key may run over the border of two of them."""
        place = record.pieces[number].place
        text = self._written.get(place)
        if text is None:
            scanner = self._scanner.known
            if scanner is None:
                return
            text = Text(scanner)
            plain = self._places.get(place)
            if plain is not None:
                text.before, text.text, text.covered = plain.before, plain.text, plain.covered
                text.pieces = list(plain.pieces)
                for waiting, _ in text.pieces:
                    waiting.waits += 1
        live = self._add(text, record, number)
        if live or text.pieces or text.covered:
            if len(self._written) >= MAX_PLACES:
                self._forget()
            self._written[place] = text
        else:
            self._written.pop(place, None)
        self._twofold = bool(self._written)

    def _add(self, known: Text, record: Record, number: int) -> int:
        """Add a piece to a text; return how many bytes at its end may begin a secret."""
        piece = record.pieces[number]
        text = piece.text
        whole = known.text + text if known.text else text
        hits, live = known.scanner.scan(whole, known.before, False)
        if hits:
            hits = _over_borders(known, hits, piece)
        waits = len(whole) - live
        if not (known.pieces or hits or known.covered) and not (
            waits and (piece.patient or self._waits(known, whole, waits))
        ):
            known.before = context(known.before, whole)
            return waits
        known.pieces.append((record, number))
        record.waits += 1
        known.text = whole
        self._settle(known, hits, live)
        return waits

    def _waits(self, known: Text, text: bytes, waits: int) -> bool:
        """Return whether what may begin a secret is too long to be there by chance; it may have begun before."""
        if waits == len(text) < _SHORT:
            joined = known.before + text
            waits = len(joined) - known.scanner.scan(joined, OUTSIDE, False)[1]
        return waits >= _SHORT

    def _settle(self, text: Text, hits: Sequence[Hit], live: int) -> None:
        """Let go of the pieces that end before the text turns live, rewritten where hits touch them."""
        done = 0
        while text.pieces and done + len(text.pieces[0][0].pieces[text.pieces[0][1]].text) <= live:
            record, number = text.pieces.pop(0)
            piece = record.pieces[number].text
            start, done = done, done + len(piece)
            if record.pieces[number].start < 0:  # a mark cannot be put into the framing
                hits = [hit._replace(start=done) if start <= hit.start < done < hit.end else hit for hit in hits]
            edit = rewrite(piece, _shifted(hits, start), len(piece), text.covered)
            if edit.kinds or text.covered:
                earlier = record.change_of(number)  # by the other reading of a text that may be JSON
                if earlier is None:
                    tally(self.counts, edit.kinds)
                record.change(number, edit.clean if earlier is None or earlier == edit.clean else MARK)
            text.covered = edit.covered
            text.before = context(text.before, piece)
            record.waits -= 1
        text.text = text.text[done:]

    def _decide(self, otherwise: str) -> None:
        for text in (*self._places.values(), *self._written.values()):
            if not text.pieces:
                continue
            size = len(text.text)
            hits, live = text.scanner.scan(text.text, text.before, False)
            if otherwise and live < size:
                hits = [*(hit for hit in hits if hit.start < live), Hit(live, size, otherwise)]
            else:
                hits, _ = text.scanner.scan(text.text, text.before, True)
            hits = _over_borders(text, hits)
            self._settle(text, hits, size)

    def _forget(self) -> None:
        """Drop the texts in which nothing is live: they start anew; decide all when that frees nothing."""
        idle = [place for place, text in self._places.items() if not text.pieces]
        if not idle or len(self._written) >= MAX_PLACES:
            self._decide(LIVE_AT_THE_BOUND)
            idle = list(self._places)
        for place in idle:
            del self._places[place]
        self._written = {place: text for place, text in self._written.items() if text.pieces}
        self._twofold = bool(self._written)
        self._names.forget()
        self._unlearn()

    def _leaving(self) -> list[Record]:
        leaving: list[Record] = []
        while self._queue and not self._queue[0].waits:
            record = self._queue.pop(0)
            self._bytes -= len(record.raw)
            leaving.append(record)
        return leaving


def _over_borders(text: Text, hits: Sequence[Hit], *last: Piece) -> Sequence[Hit]:
    """Return the hits without those in a single piece that looks like JSON: they are found in what it says as JSON."""
    alone: list[tuple[int, int]] = []
    at = 0
    for piece in (*(record.pieces[number] for record, number in text.pieces), *last):
        start, at = at, at + len(piece.text)
        if piece.written:
            alone.append((start, at))
    if not alone:
        return hits
    return [
        hit
        for hit in hits
        if (hit.start == 0 and text.before) or not any(start <= hit.start and hit.end <= end for start, end in alone)
    ]


def _shifted(hits: Sequence[Hit], start: int) -> list[Hit]:
    """Return the hits that begin at or after `start`, counted from there; `covered` carries the others."""
    return [hit._replace(start=hit.start - start, end=hit.end - start) for hit in hits if hit.start >= start]
