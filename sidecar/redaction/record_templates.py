"""What records of one stream have in common: one that is like earlier ones need not be read.

Most records of a stream differ in one text only; some also in a number that counts them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from sidecar.redaction.records import Piece, Place, may_be_json
from sidecar.redaction.text_names import is_name
from sidecar.redaction.waiting_texts import Record, Text

_MOST_HOLES: Final = 8
_MOST_DIGITS: Final = 6
_VALUE: Final = re.compile(rb'(?<=[^\\]":)[0-9]{1,6}(?=[,}\]])')


class Hole:
    """What changes from record to record: a text, or a short number.

    text    None: a number
    names   it may be the name of a text: one that was seen before may stand for another text
    after   what follows it in every record, `skip` bytes
    """

    __slots__ = ("after", "names", "patient", "place", "quoted", "skip", "text")

    def __init__(self, change: _Change, text: Text | None, after: bytes) -> None:
        self.text = text
        self.after = after
        self.skip = len(after)
        self.quoted = change.quoted
        self.names = change.names
        self.patient = change.patient
        self.place = change.place


class Template:
    """A record that others are like, but for what is in its holes.

    begin  where the first hole begins
    names  one of the holes may be a name
    """

    __slots__ = ("begin", "holes", "names", "start")

    def __init__(self, start: bytes, holes: tuple[Hole, ...]) -> None:
        self.start = start
        self.begin = len(start)
        self.holes = holes
        self.names = any(hole.names for hole in holes)

    def ends(self, raw: bytes) -> list[int] | None:
        """Return where a record's holes end; None: it is another record."""
        at = self.begin
        if raw[:at] != self.start:
            return None
        found: list[int] = []
        for hole in self.holes:
            start = at
            end = _end_of_number(raw, at) if hole.text is None else _end_of_text(raw, at, hole.quoted)
            at = end + hole.skip
            if end < 0 or raw[end:at] != hole.after:
                return None
            if not hole.quoted and hole.text is not None and may_be_json(raw, start, end):
                return None
            found.append(end)
        return found if at == len(raw) else None

    def pieces(self, raw: bytes, ends: list[int]) -> list[Piece]:
        """Return the texts that are in the holes of a record."""
        found: list[Piece] = []
        at = self.begin
        for hole, end in zip(self.holes, ends, strict=True):
            if hole.place is not None:
                found.append(Piece(hole.place, at, end, raw[at:end], hole.quoted, hole.patient))
            at = end + hole.skip
        return found


def _end_of_number(raw: bytes, at: int) -> int:
    size = len(raw)
    end = at
    while end < size and 0x30 <= raw[end] <= 0x39:
        end += 1
    return end if 0 < end - at <= _MOST_DIGITS else -1


def _end_of_text(raw: bytes, at: int, quoted: bool) -> int:
    """Return where a text ends that is written as it is; a loop, because most have few bytes."""
    size = len(raw)
    while at < size:
        byte = raw[at]
        if byte == 0x22 and quoted:
            return at
        if byte == 0x0A:
            return -1 if quoted else at
        if byte == 0x0D or (byte == 0x5C and quoted):
            return -1
        at += 1
    return -1


class _Change(NamedTuple):
    """Where two records differ; `place` None: in a number."""

    place: Place | None = None
    quoted: bool = False
    patient: bool = False
    names: bool = False


def template_of(record: Record, before: Record, texts: Mapping[Place, Text]) -> Template | None:
    """Return what two records with the same texts have in common; None for records that are not alike.

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
    if len({piece.place for piece in pieces}) < len(pieces) or any(piece.place not in texts for piece in pieces):
        return None  # a text that is there in two pieces has to be joined
    varied = [one for one, other in zip(pieces, others, strict=True) if one.text != other.text]
    varied = varied or [one for one in pieces if one.patient][:1]
    if not varied or len(varied) > _MOST_HOLES:
        return None
    raw, at, then = record.raw, 0, 0
    between: list[bytes] = []
    changes: list[_Change] = []
    earlier = {piece.place: piece for piece in others}
    for piece in sorted(varied, key=lambda piece: piece.start):
        other = earlier[piece.place]
        if not _numbered(raw[at : piece.start], before.raw[then : other.start], between, changes):
            return None
        changes.append(_Change(piece.place, piece.quoted, piece.patient, is_name(piece)))
        at, then = piece.end, other.end
    if not _numbered(raw[at:], before.raw[then:], between, changes) or len(changes) > _MOST_HOLES:
        return None
    holes = [
        Hole(change, None if change.place is None else texts[change.place], after)
        for change, after in zip(changes, between[1:], strict=True)
    ]
    if not all(hole.text is None or hole.quoted or hole.after[:1] == b"\n" for hole in holes):
        return None
    template = Template(between[0], tuple(holes))
    return template if template.ends(raw) is not None else None


def _numbered(text: bytes, other: bytes, between: list[bytes], changes: list[_Change]) -> bool:
    """Split what is between two texts at the numbers that differ in both records; False: more than numbers differs."""
    if text == other:
        between.append(text)
        return True
    numbers, others = list(_VALUE.finditer(text)), list(_VALUE.finditer(other))
    if len(numbers) != len(others) or _VALUE.sub(b"0", text) != _VALUE.sub(b"0", other):
        return False
    at = 0
    for number, then in zip(numbers, others, strict=True):
        if number.group() != then.group():
            between.append(text[at : number.start()])
            changes.append(_Change())
            at = number.end()
    between.append(text[at:])
    return True
