"""Texts that arrive in pieces, one piece a record: what no single record shows is found in the joined text.

Records leave whole and in order. One waits only while one of its texts ends in what may be the
beginning of a hit, and then those behind it wait too; a record without a hit leaves byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.redaction.prefilter import Question
from sidecar.redaction.records import PLAIN, Piece, Place, clean_framing, clean_record, may_be_json, rewritten
from sidecar.redaction.scanner import MARK, OUTSIDE, Hit, Scanner, context, rewrite, tally
from sidecar.redaction.text_names import TextNames, is_name

MAX_WAITING_BYTES: Final = 256 * 1024
MAX_WAITING_RECORDS: Final = 4096
MAX_PLACES: Final = 256
_SHORT: Final = 4
"""Fewer live bytes make no record wait at a place where no protocol streams a text: ids and dates end so by chance."""
_TEMPLATES: Final = 4
_LESSONS: Final = 32
"""Templates that one stream is searched for: one that has none would pay for the search with each record."""
_MOST_HOLES: Final = 8
_NUMBER: Final = re.compile(rb"[0-9]{1,6}(?![0-9])")
_PLAIN: Final = frozenset(b'"\\\r\n')
"""Bytes that are not in a text of a JSON string that is written as it is."""
_VALUE: Final = re.compile(rb'(?<=[^\\]":)[0-9]{1,6}(?=[,}\]])')
LIVE_AT_THE_BOUND: Final = "undecided"


@dataclass(eq=False)
class Record:
    """One record on its way: its bytes, its texts, and what becomes of them.

    clean  replaces what of a secret in one of its texts is left when it leaves; None: there was none
    """

    raw: bytes
    pieces: list[Piece]
    binary: bool = False
    clean: Callable[[bytes], bytes] | None = None
    changed: dict[int, bytes] = field(default_factory=dict)
    waits: int = 0  # pieces that are not decided

    def leave(self) -> bytes:
        """Return the bytes to send: the record as it came, or written again with its changed texts."""
        raw = rewritten(self.raw, self.pieces, self.changed) if self.changed else self.raw
        return raw if self.clean is None else self.clean(raw)


class _Text:
    """One text: the pieces whose end is not decided, and the state of their scan."""

    __slots__ = ("before", "covered", "pieces", "scanner", "text")

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.pieces: list[tuple[Record, int]] = []  # mostly empty: an empty deque takes 760 bytes for each text
        self.text = b""
        self.before = OUTSIDE
        self.covered = 0


@dataclass(frozen=True)
class _Hole:
    """What changes from record to record: a text, or a short number; `after` follows it in every record."""

    place: Place | None  # None: a number
    quoted: bool
    patient: bool
    names: bool
    """It may be the name of a text: one that was seen before may stand for another text."""
    after: bytes


@dataclass(frozen=True)
class _Template:
    """A record that others are like, but for what is in its holes."""

    start: bytes
    holes: tuple[_Hole, ...]
    end: bytes = b""  # what follows the only hole
    text: Place | None = None  # which is this text in a JSON string
    names: bool = False  # one of the holes may be a name

    def match(self, raw: bytes) -> list[tuple[int, int]] | None:
        """Return where a record's holes are; None: it is another one."""
        if not raw.startswith(self.start):
            return None
        at = len(self.start)
        found = []
        for hole in self.holes:
            if hole.place is None:
                number = _NUMBER.match(raw, at)
                if number is None:
                    return None
                end = number.end()
            else:
                end = raw.find(b'"' if hole.quoted else b"\n", at)
                if end < 0 or raw.find(b"\r", at, end) >= 0:
                    return None
                if hole.quoted:
                    if raw.find(b"\n", at, end) >= 0 or raw.find(b"\\", at, end) >= 0:
                        return None
                elif may_be_json(raw, at, end):
                    return None
            if not raw.startswith(hole.after, end):
                return None
            found.append((at, end))
            at = end + len(hole.after)
        return found if at == len(raw) else None


def _template(record: Record, before: Record) -> _Template | None:
    """Return what two records of the same places have in common; None for records that are not alike.

    A text that is the same in both is no hole: where it changes, the record is read. Nor is a number that is:
    it may say to which of several texts the record belongs. One that differs, of up to six digits, does not
    say so, because the places are the same; and it holds no secret.
    """
    pieces = [piece for piece in record.pieces if not piece.written]
    others = [piece for piece in before.pieces if not piece.written]
    if len(pieces) != len(others) or any(piece.start < 0 for piece in pieces):
        return None
    if any(one.place != other.place for one, other in zip(pieces, others, strict=True)):
        return None
    varied = [one for one, other in zip(pieces, others, strict=True) if one.text != other.text]
    varied = varied or [one for one in pieces if one.patient][:1]
    if not varied or len(varied) > _MOST_HOLES:
        return None
    raw, at, then = record.raw, 0, 0
    between: list[bytes] = []
    holes: list[tuple[Place | None, bool, bool, bool]] = []
    earlier = {piece.place: piece for piece in others}
    for piece in sorted(varied, key=lambda piece: piece.start):
        other = earlier[piece.place]
        if not _numbered(raw[at : piece.start], before.raw[then : other.start], between, holes):
            return None
        holes.append((piece.place, piece.quoted, piece.patient, is_name(piece)))
        at, then = piece.end, other.end
    if not _numbered(raw[at:], before.raw[then:], between, holes) or len(holes) > _MOST_HOLES:
        return None
    made = [_Hole(*hole, after) for hole, after in zip(holes, between[1:], strict=True)]
    if not all(hole.place is None or hole.quoted or hole.after[:1] == b"\n" for hole in made):
        return None
    template = _Template(between[0], tuple(made), names=any(hole.names for hole in made))
    if len(made) == 1 and made[0].quoted and not made[0].names:
        template = _Template(between[0], tuple(made), made[0].after, made[0].place)
    return template if template.match(raw) is not None else None


def _numbered(
    text: bytes, other: bytes, between: list[bytes], holes: list[tuple[Place | None, bool, bool, bool]]
) -> bool:
    """Split what is between two texts at the numbers that differ in both records; False: more than numbers differs."""
    numbers, others = list(_VALUE.finditer(text)), list(_VALUE.finditer(other))
    if len(numbers) != len(others) or _VALUE.sub(b"0", text) != _VALUE.sub(b"0", other):
        return False
    at = 0
    for number, then in zip(numbers, others, strict=True):
        if number.group() != then.group():
            between.append(text[at : number.start()])
            holes.append((None, False, False, False))
            at = number.end()
    between.append(text[at:])
    return True


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
        "_places",
        "_question",
        "_queue",
        "_scanner",
        "_templates",
        "_written",
        "counts",
    )

    def __init__(self, scanner: Scanner, counts: dict[str, int], question: Question | None = None) -> None:
        self._scanner = scanner
        self._question = question
        self._places: dict[Place, _Text] = {}
        self._written: dict[Place, _Text] = {}
        """Where a value looks like JSON and may be text: all values of the place, as they are written."""
        self._names = TextNames()
        self._queue: list[Record] = []
        self._bytes = 0
        self._last: Record | None = None  # that was read
        self._lessons = _LESSONS
        self._templates: list[_Template] = []
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
        if self._written or (self._queue and self._plain_waits()):
            return None
        for template in self._templates:
            if template.text is not None:  # most streams: one text, and all else stays the same
                start, end = len(template.start), len(raw) - len(template.end)
                if start <= end and raw.startswith(template.start) and raw.endswith(template.end):
                    piece = raw[start:end]
                    if not _PLAIN.isdisjoint(piece):
                        return None
                    text, question = self._places[template.text], self._question
                    if not (self._queue or text.pieces or text.covered or question is None):
                        joined = text.before + piece
                        if not question(joined):
                            text.before = context(OUTSIDE, joined)
                            return raw
                    return self._alike(raw, template, [(start, end)])
                continue
            found = template.match(raw)
            if found is not None:
                return self._alike(raw, template, found)
        return None

    def _plain_waits(self) -> bool:
        """Return whether a text waits that a value which looks like JSON may go on."""
        return any(text.pieces and place[-1:] == (PLAIN,) for place, text in self._places.items())

    def _alike(self, raw: bytes, template: _Template, found: list[tuple[int, int]]) -> bytes | None:
        places, question = self._places, self._question
        if template.names and any(
            hole.names and self._names.is_seen(raw[start:end])
            for hole, (start, end) in zip(template.holes, found, strict=True)
        ):
            return None
        if question is not None and not self._queue:
            plain: list[tuple[_Text, bytes]] = []
            suspicious = False
            for number in range(len(found)):
                place = template.holes[number].place
                if place is None:
                    continue
                text = places[place]
                start, end = found[number]
                joined = text.before + raw[start:end]
                suspicious = text.covered > 0 or bool(text.pieces) or question(joined)
                if suspicious:
                    break
                plain.append((text, joined))
            if not suspicious:
                for text, joined in plain:
                    text.before = context(OUTSIDE, joined)
                return raw
        pieces = [
            Piece(hole.place, start, end, raw[start:end], hole.quoted, hole.patient)
            for hole, (start, end) in zip(template.holes, found, strict=True)
            if hole.place is not None
        ]
        return b"".join(leave(self._pushed(Record(raw, pieces))))

    def read(self, raw: bytes, read: Callable[[bytes], list[Piece]], *, binary: bool = False) -> list[Record]:
        """Take the next record, whose texts `read` returns; return those that may leave now."""
        scanner, counts = self._scanner, self.counts
        shown, suspicious = clean_framing(raw, scanner, counts, read)
        record = Record(shown, read(shown), binary)
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
                text = self._places.setdefault(old, _Text(self._scanner))
                if not text.pieces:
                    text.before = context(known.before, known.text)
        self._names.switches.clear()
        self._names.parted = False
        self._templates.clear()
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
        self._names.forget()
        self._templates.clear()
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
        template = _template(record, last)
        if template is not None and all(hole.place is None or hole.place in self._places for hole in template.holes):
            self._templates.insert(0, template)
            del self._templates[_TEMPLATES:]

    def _extend(self, record: Record, number: int) -> None:
        piece = record.pieces[number]
        if piece.written:
            self._extend_written(record, number)
            return
        known = self._places.get(piece.place)
        if known is None:
            if len(self._places) >= MAX_PLACES:
                self._forget()
            known = self._places[piece.place] = _Text(self._scanner)
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
            text = _Text(scanner)
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

    def _add(self, known: _Text, record: Record, number: int) -> int:
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

    def _waits(self, known: _Text, text: bytes, waits: int) -> bool:
        """Return whether what may begin a secret is too long to be there by chance; it may have begun before."""
        if waits == len(text) < _SHORT:
            joined = known.before + text
            waits = len(joined) - known.scanner.scan(joined, OUTSIDE, False)[1]
        return waits >= _SHORT

    def _settle(self, text: _Text, hits: Sequence[Hit], live: int) -> None:
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
                earlier = record.changed.get(number)  # by the other reading of a text that may be JSON
                if earlier is None:
                    tally(self.counts, edit.kinds)
                record.changed[number] = edit.clean if earlier is None or earlier == edit.clean else MARK
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
        self._names.forget()
        self._templates.clear()

    def _leaving(self) -> list[Record]:
        leaving: list[Record] = []
        while self._queue and not self._queue[0].waits:
            record = self._queue.pop(0)
            self._bytes -= len(record.raw)
            leaving.append(record)
        return leaving


def _over_borders(text: _Text, hits: Sequence[Hit], *last: Piece) -> Sequence[Hit]:
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


def leave(records: Iterable[Record]) -> list[bytes]:
    """Return the bytes of records that leave."""
    return [record.leave() for record in records]


def _shifted(hits: Sequence[Hit], start: int) -> list[Hit]:
    """Return the hits that begin at or after `start`, counted from there; `covered` carries the others."""
    return [hit._replace(start=hit.start - start, end=hit.end - start) for hit in hits if hit.start >= start]
