"""Reads one record of a stream (an event, a line, a message): which texts it holds, and where.

Texts at the same place of successive records are one text: the place of a JSON string is the path of
names and positions that leads to it, the place of any other text is its field.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from sidecar.redaction.scanner import KNOWN, MARK, OUTSIDE, Hit, Scanner, rewrite, tally

Place: TypeAlias = tuple[Any, ...]

MAX_TEXTS: Final = 256
"""Texts of one record that are joined with those of other records; further ones are read by themselves."""

TEXT_NAMES: Final = frozenset(
    b"answer arguments chunk completion content data delta message output partial_json reasoning reasoning_content "
    b"refusal response result text thinking token value".decode().split()
)
"""Names under which chat protocols stream texts: here even one byte that may begin a secret waits."""

_STRING: Final = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_TOKEN: Final = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"([ \t]*:)?|\Z)', re.DOTALL)
_PREFIX: Final = re.compile(rb'[^\s"{\[]{0,32}[ ]?(?=[{\["])')  # `0:"…"`, `42["…"]`, a record separator
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_BREAK: Final = re.compile(rb"\r\n|\n|\r")
_LINE: Final = re.compile(rb"([^\r\n]*)(?:\r\n|\n|\r|\Z)")
_BOM: Final = b"\xef\xbb\xbf"
_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.", re.DOTALL)
_OPENING: Final = (b"{", b"[")
_CLOSING: Final = (b"}", b"]")
_INNER: Final = "json"
_SEPARATOR: Final = b"\x1e"  # of records (RFC 7464), and of packets of engine.io and SignalR
_EDGE: Final = 2
"""Bytes of framing at the edges of a string that an escape may seem to take in; twice as many in a string in it."""
PLAIN: Final = "plain"


class Piece(NamedTuple):
    """A text in a record.

    start, end  where it is in the record; -1 for a line break that framing puts between two pieces
    text        what a reader gets, as UTF-8
    quoted      it is in a JSON string
    patient     the record waits even when only one byte of the text may begin a secret
    depth       in how many JSON strings it is: that of a value may hold JSON itself
    written     it is a text that looks like JSON, as it is written; the pieces before it are what it says as JSON
    """

    place: Place
    start: int
    end: int
    text: bytes
    quoted: bool
    patient: bool
    depth: int = 1
    written: bool = False


def read_json(raw: bytes, spans: Iterable[tuple[int, int]], place: Place) -> list[Piece] | None:
    """Return the string values of JSON that is in the spans of a record; None when it is no JSON."""
    spans = list(spans)
    value = _parsed(b"\n".join(raw[start:end] for start, end in spans))
    if value is None:
        return None
    leaves: list[Place | None] = []
    _walk(value, (*place, *_kind(value)), leaves)
    strings = [found.span(1) for start, end in spans for found in _STRING.finditer(raw, start, end)]
    if len(strings) != len(leaves):
        return read_tokens(raw, spans, place)  # names that occur twice: a parser keeps the last
    pairs = [(leaf, span) for leaf, span in zip(leaves, strings, strict=True) if leaf is not None]
    pieces = [
        Piece(leaf, start, end, _text(raw[start:end]), True, len(leaf) == len(place) or leaf[-1] in TEXT_NAMES)
        for leaf, (start, end) in pairs[:MAX_TEXTS]
        if start < end
    ]
    if b'\\"' not in raw:
        return pieces
    return [below for piece in pieces for below in _inner(raw, piece)][:MAX_TEXTS]


def _inner(raw: bytes, piece: Piece) -> list[Piece]:
    """Return the texts of a text that is JSON itself; the text where it is none."""
    text = piece.text
    if text[:1] not in _OPENING or text.rstrip()[-1:] not in _CLOSING:
        return [piece]
    pieces = read_json(text, ((0, len(text)),), (*piece.place, _INNER))
    if not pieces:
        return [piece]
    in_text, in_raw = _escapes(raw[piece.start : piece.end])

    def moved(place: int) -> int:
        at = bisect_right(in_text, place) - 1
        return piece.start + in_raw[at] + place - in_text[at]

    return [
        *(below._replace(start=moved(below.start), end=moved(below.end), depth=below.depth + 1) for below in pieces),
        piece._replace(patient=False, written=True),
    ]


def _escapes(raw: bytes) -> tuple[list[int], list[int]]:
    """Return where a JSON string's text goes on after each of its escapes: in the text, and in the string."""
    in_text, in_raw = [0], [0]
    for found in _ESCAPE.finditer(raw):
        in_text.append(in_text[-1] + found.start() - in_raw[-1] + len(_text(found.group())))
        in_raw.append(found.end())
    return in_text, in_raw


def read_tokens(raw: bytes, spans: Iterable[tuple[int, int]], place: Place) -> list[Piece]:
    """Return the string values of what is no whole JSON value; the place of each is the name before it."""
    found: list[Piece] = []
    name = ""
    for start, end in spans:
        for token in _TOKEN.finditer(raw, start, end):
            if token.group(2) is not None:
                name = token.group(1).decode("utf-8", "replace")
            elif token.group(1) and len(found) < MAX_TEXTS:
                text = _text(token.group(1))
                found.append(Piece((*place, name), *token.span(1), text, True, name in TEXT_NAMES or not name))
    return found


def read_value(raw: bytes, start: int, end: int, place: Place, *, patient: bool = True) -> list[Piece]:
    """Return the texts of a value that may be JSON, JSON behind a short prefix, or a text itself."""
    if start >= end:
        return []
    plain = (*place, PLAIN)
    prefix = _PREFIX.match(raw, start, end)
    if prefix is not None:
        begin = prefix.end()
        # Control characters before a value are framing, as the length before a message is.
        named = (*place, prefix.group()) if begin > start and _CONTROL.search(raw, start, begin) is None else place
        pieces = read_json(raw, ((begin, end),), named)
        if pieces is None and begin == start and raw[start] != 0x22:
            pieces = read_tokens(raw, ((start, end),), named) or None
        if pieces is not None:
            # Or it is text, and a piece of it looks like JSON: `{}`, or `ab"cd"` of a key that holds quotes.
            pieces.append(Piece(plain, start, end, raw[start:end], False, False, 1, True))
            return pieces
    return [Piece(plain, start, end, raw[start:end], False, patient)]


def may_be_json(raw: bytes, start: int, end: int) -> bool:
    """Return whether a value may be JSON, or JSON behind a short prefix, by its beginning."""
    return _PREFIX.match(raw, start, end) is not None


def read_message(raw: bytes) -> list[Piece]:
    """Return the texts of a message or a line."""
    return read_value(raw, 0, len(raw.rstrip(b"\r\n" + _SEPARATOR)), ())


def is_json(raw: bytes) -> bool:
    """Return whether this is a whole JSON value."""
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def read_event(raw: bytes) -> list[Piece]:
    """Return the texts of a server-sent event: of its data, its comments, and of any other field."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return read_value(raw, 6, len(raw) - 2, (b"data",))  # as nearly all events are written
    data: list[tuple[int, int]] = []
    others: list[tuple[bytes, int, int]] = []
    at = len(_BOM) if raw.startswith(_BOM) else 0
    for line in _LINE.finditer(raw, at):
        start, end = line.span(1)
        colon = raw.find(b":", start, end)
        if colon < 0:
            continue
        field = raw[start:colon]
        start = colon + 1 + raw.startswith(b" ", colon + 1)
        if field == b"data":
            data.append((start, end))
        else:
            others.append((field, start, end))
    pieces = _read_data(raw, data, (b"data",))
    for field, start, end in others:
        pieces += read_value(raw, start, end, (field,), patient=False)
    return pieces


def event_data(raw: bytes) -> bytes:
    """Return what a reader gets as the event's data."""
    lines = [line for line in _BREAK.split(raw.removeprefix(_BOM)) if line.startswith(b"data:")]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def _read_data(raw: bytes, spans: list[tuple[int, int]], place: Place) -> list[Piece]:
    if len(spans) == 1:
        return read_value(raw, *spans[0], place)
    first = next((start for start, end in spans if start < end), None)
    if first is not None and raw[first] in b'{["':
        pieces = read_json(raw, spans, place)
        if pieces is not None:
            return pieces
    found: list[Piece] = []
    last: Piece | None = None
    for start, end in spans:
        if last is not None:
            found.append(Piece(last.place, -1, -1, b"\n", False, False))
        found += read_value(raw, start, end, place)
        last = next((piece for piece in reversed(found) if not piece.written), None)
    return found


def rewritten(raw: bytes, pieces: list[Piece], changed: dict[int, bytes]) -> bytes:
    """Return the record with other texts in place of the pieces with these numbers."""
    out: list[bytes] = []
    at = 0
    for number in [number for number in changed if pieces[number].written]:
        changed = _alone(pieces, changed, number)
    for start, number in sorted((pieces[number].start, number) for number in changed if pieces[number].start >= 0):
        text = changed[number]
        piece = pieces[number]
        if piece.quoted:
            for _ in range(piece.depth):
                text = _quoted(text)
        out += (raw[at:start], text)
        at = piece.end
    return b"".join((*out, raw[at:]))


def _alone(pieces: list[Piece], changed: dict[int, bytes], number: int) -> dict[int, bytes]:
    """Return the changes without those inside of a piece that changes, too: all of it is replaced instead."""
    whole = pieces[number]
    if number not in changed:
        return changed  # it is inside of another one
    others = {
        other: text
        for other, text in changed.items()
        if not (whole.start <= pieces[other].start and pieces[other].end <= whole.end)
    }
    return {**others, number: changed[number] if len(others) == len(changed) - 1 else MARK}


def clean_record(raw: bytes, scanner: Scanner, counts: dict[str, int], read: Callable[[bytes], list[Piece]]) -> bytes:
    r"""Return a record without what must not pass in it, framing included.

    A secret may seem to end in the quote that ends a string: `\\"` is a backslash and that quote, or an
    escaped quote. What is replaced then ends before it, so that the record stays what it is.
    """
    if not scanner.framing:
        return raw
    hits, live = scanner.scan(raw, OUTSIDE, True)
    if not hits:
        return raw
    edit = rewrite(raw, _fitted(hits, read(raw), len(raw)), live, 0)
    tally(counts, edit.kinds)
    return edit.clean


def clean_framing(
    raw: bytes, scanner: Scanner, counts: dict[str, int], read: Callable[[bytes], list[Piece]], *, waits: bool = False
) -> tuple[bytes, bool]:
    """Return a record without known secrets and what runs over framing, and whether it shows another key in a text.

    What has the shape of a key and is in a text stays: it may be the beginning of a known secret that goes on in
    the next record. So does a known secret where another record `waits`, which may be the end of one that began there
    in another reading, and one that ends in the framing, which may go on in the next record instead: the quote that
    ends a string may be the last character of a key. What is still there when the record leaves is for `clean_record`.
    """
    if not scanner.framing:
        return raw, False
    hits, live = scanner.scan(raw, OUTSIDE, True)
    if not hits:
        return raw, False
    pieces = read(raw)
    shown = _fitted(hits, pieces, len(raw))
    texts = [piece for piece in pieces if not piece.written]
    ends = {hit.end for hit in hits} | ({piece.end for piece in texts} if hits[-1].end == len(raw) else set())
    sure = [
        hit
        for hit in shown
        if (hit.kind == KNOWN and not waits and hit.end in ends)
        or not any(p.start <= hit.start and hit.end <= p.end for p in texts)
    ]
    edit = rewrite(raw, sure, live, 0)
    tally(counts, edit.kinds)
    return edit.clean, len(sure) < len(shown)


def _fitted(hits: Sequence[Hit], pieces: list[Piece], size: int) -> list[Hit]:
    """Return hits of a record of so many bytes that leave its framing what it is."""
    strings = [
        (piece.start, piece.end, _EDGE << (piece.depth - 1)) for piece in pieces if piece.quoted and not piece.written
    ]
    return [each for hit in hits for each in (_texts(hit, strings) if hit.end == size else (_within(hit, strings),))]


def _texts(hit: Hit, strings: list[tuple[int, int, int]]) -> list[Hit]:
    """Return what of a hit that runs to the end of a record is in its texts: its framing stays."""
    found = [hit._replace(start=max(hit.start, first), end=last) for first, last, _ in strings if last > hit.start]
    return found or [hit]


def _within(hit: Hit, strings: list[tuple[int, int, int]]) -> Hit:
    start, end = hit.start, hit.end
    for first, last, edge in strings:
        if first <= start < last < end <= last + edge:
            end = last
        if first - edge <= start < first < end <= last:
            start = first
    return hit._replace(start=start, end=end)


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)  # halves of surrogate pairs, NaN: some servers send them
    except (ValueError, RecursionError):
        return None


def _text(raw: bytes) -> bytes:
    """Return the text of a JSON string's content."""
    if b"\\" not in raw:
        return raw
    text = _parsed(b'"' + raw + b'"')
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else raw


def _quoted(text: bytes) -> bytes:
    try:
        shown = text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        shown = text.decode("utf-8", "replace")
    return json.dumps(shown, ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace")


def _kind(event: Any) -> Place:
    """Return what tells interleaved texts of one path apart.

    That is the event's type, the numbers of its block and of its choice; not ids, because some servers make a
    new one for each event, nor other top-level indexes, which may count tokens.
    """
    if not isinstance(event, dict):
        return ()
    get = event.get
    kind = get("type")
    block = get("index") if kind == "content_block_delta" else None
    choices = get("choices")
    only = choices[0] if type(choices) is list and len(choices) == 1 else None
    choice = (only.get("index") or None) if type(only) is dict else None
    place = (kind, block, get("output_index"), get("content_index"), choice)
    try:
        hash(place)
    except TypeError:
        return ()  # lists or objects: not what these names mean in any protocol
    return place if any(part is not None for part in place) else ()


def _walk(value: Any, place: Place, found: list[Place | None]) -> None:
    """Collect the places of the strings in a value, in their order; None for a name."""
    if type(value) is str:
        found.append(place)
    elif type(value) is dict:
        for name, below in value.items():
            found.append(None)
            if type(below) is str:
                found.append((*place, name))
            elif type(below) in _NESTED:
                _walk(below, (*place, name), found)
    elif type(value) is list:
        for at, below in enumerate(value):
            if type(below) is str or type(below) in _NESTED:
                _walk(below, (*place, _number(below, at)), found)


_NESTED: Final = frozenset({dict, list})


def _number(element: Any, at: int) -> int:
    """Return which of several texts an element continues: its own index, or its place in the list."""
    own = element.get("index") if type(element) is dict else None
    return own if type(own) is int else at
