"""Spellings inside one another: a key does not pass in any of them; what is not found is named."""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import itertools
import json
import math
import os
import string
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.redaction.ambiguous_escapes import AmbiguousSecrets, Steps, is_ambiguous
from sidecar.redaction.character_escapes import undo_each
from sidecar.redaction.filters import PATTERN_NAMES, Redaction, build_redaction
from sidecar.redaction.known_secrets import MatcherGroup
from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret
from tests.support.redaction import LAYERS, cut, every, run
from tests.support.streams import FORMATS, NAMED, WOVEN

KEY = "sk-proj-Ab9_z0123456789/+x"
KNOWN = SecretMatcher([Secret(KEY)])


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("way", LAYERS)
def test_a_spelling_does_not_pass(way: str, size: int) -> None:
    stream = KNOWN.filter()
    clean = run(stream, every(b"key " + LAYERS[way](KEY.encode()) + b" end", size))
    assert stream.counts == {"known": 1}
    assert clean.startswith(b"key ")
    assert clean.endswith(b" end")
    assert len(clean) < 45


ADDED = {"base64-second": (1, 0), "base64-third": (2, 1), "base64-mime": (5, 0)}
"""Characters that a spelling puts before and behind the key."""
PADDING = 20
"""Characters that may stay of what follows a key: padding of base64, once more encoded."""


def may_stay(key: str, said: bytes, *ways: str) -> tuple[int, float]:
    """Return how much may stay before and behind the mark: one character of the key, and what is none of it."""
    before, after = (sum(ADDED.get(way, (0, 0))[side] for way in ways) for side in (0, 1))
    size = len(said) / len(key)
    return max(3, math.ceil(size * (1 + before)) + 4), size * (1 + after) + PADDING


def spelled(key: str, *ways: str) -> bytes | None:
    """Return the key in spellings inside one another; None where that is no text."""
    said = key.encode()
    try:
        for way in ways:
            said = LAYERS[way](said) if way else said
        said.decode()
    except UnicodeDecodeError:
        return None
    return said


@pytest.mark.parametrize("outer", LAYERS)
def test_two_spellings_inside_one_another_do_not_pass(outer: str) -> None:
    for inner in LAYERS:
        said = spelled(KEY, inner, outer)
        for size in (3, 20, 10_000) if said is not None else ():
            stream = KNOWN.filter()
            clean = run(stream, every(b"key " + said + b" end", size)) if said is not None else b""
            assert clean.startswith(b"key "), inner
            assert clean.endswith(b" end"), inner
            before, mark, after = clean[4:-4].partition(b"[redacted]")
            stay = may_stay(KEY, said or b"", inner, outer)
            assert mark, inner
            assert len(before) <= stay[0], inner
            assert len(after.replace(mark, b"")) <= stay[1], inner


EVERY_SHAPE = tuple(sorted(PATTERN_NAMES))
PRINTABLE = string.printable[:95]
KEYS = st.one_of(
    st.text(string.ascii_letters + string.digits + "-_.+/=:", min_size=8, max_size=80),
    st.text(PRINTABLE, min_size=8, max_size=80),
    st.text("%\\\"'&;#0123uUx4nt{}", min_size=8, max_size=80),
).filter(lambda key: len(set(key)) > 4)
WAYS = st.sampled_from(["", *LAYERS])
EXAMPLES = int(os.environ.get("REDACTION_EXAMPLES", "200"))
REPEATED = "REDACTION_EXAMPLES" not in os.environ
"""The same draws each time: what a search of many finds belongs to the change that made it, not to the next one."""
OTHER = SecretMatcher([Secret("~~no text holds this~~")])
REDACTIONS = {patterns: build_redaction(OTHER, patterns, Problems()) for patterns in ((), EVERY_SHAPE)}
# What looks for key shapes takes 130 ms to make with each key, and nothing where the key is read in beside another.
WAYS_TO_LOOK = st.sampled_from([(True, EVERY_SHAPE), (True, ()), (True, ()), *[(False, ()), (False, EVERY_SHAPE)] * 4])


def redaction_of(key: str, way: tuple[bool, tuple[str, ...]]) -> Redaction:
    """Return what looks for a key: alone, or beside another one as a key that was just stored; and for key shapes."""
    alone, patterns = way
    matcher = SecretMatcher([Secret(key)])
    if alone:
        return build_redaction(matcher, patterns, Problems())
    redaction = REDACTIONS[patterns]
    redaction.know(MatcherGroup([OTHER, matcher]))
    return redaction


def pieces(text: bytes, at: list[int]) -> list[str]:
    """Cut a text into pieces of whole characters, or not at all where that is not possible."""
    try:
        return [piece.decode() for piece in cut(text, at)]
    except UnicodeDecodeError:
        return [text.decode()]


def takes_too_many_steps(key: str, records: Iterable[bytes]) -> bool:
    """Return whether one of some records is replaced unread from the key on: it holds it in escapes without end."""
    if not is_ambiguous(key.encode()):
        return False
    secrets = AmbiguousSecrets([key.encode()])
    for record in records:
        steps = Steps()
        for text in (record, *(below for below, _ in undo_each(record))):
            secrets.found(text, steps, final=False)
        if steps.left < 0:
            return True
    return False


def assert_only_the_key_goes(shown: str, key: str, said: bytes, *ways: str, unread: bool = False) -> None:
    if unread:
        shown = shown.partition("[redacted]")[0] + "[redacted] end"
    if key.endswith(" ") and shown.endswith("]end"):
        shown = shown.replace("]end", "] end")  # one of several readings ends in the blank behind the key
    assert shown.startswith("see ")
    assert shown.endswith(" end")
    before, mark, after = shown[4:-4].partition("[redacted]")
    stay = may_stay(key, said, *ways)
    assert mark
    assert len(before) <= stay[0]
    assert len(after.replace(mark, "")) <= stay[1]


@settings(deadline=None, max_examples=EXAMPLES, derandomize=REPEATED)
@given(
    key=KEYS,
    inner=WAYS,
    outer=WAYS,
    name=st.sampled_from(sorted(FORMATS)),
    at=st.lists(st.integers(0, 4000), max_size=40),
    chunks=st.lists(st.integers(0, 9000), max_size=40),
    way=WAYS_TO_LOOK,
)
def test_no_key_in_two_spellings_passes_in_any_format(
    key: str, inner: str, outer: str, name: str, at: list[int], chunks: list[int], way: tuple[bool, tuple[str, ...]]
) -> None:
    said = spelled(key, inner, outer)
    assume(said is not None)
    assert said is not None
    if set(said) & set(b"\r\n\0"):
        name = "bytes"  # a reader of lines sees several
    form = FORMATS[name]
    stream = redaction_of(key, way).filter_for(form.media_type)
    assert stream is not None
    parts = pieces(b"see " + said + b" end", at)
    assume(key.encode() not in form.body(["", ""]))
    unread = takes_too_many_steps(key, map(form.write, parts))
    shown = form.read(run(stream, cut(form.body(parts), chunks)))
    assert_only_the_key_goes(shown, key, said, inner, outer, unread=unread)


@settings(deadline=None, max_examples=EXAMPLES, derandomize=REPEATED)
@given(
    key=KEYS,
    inner=WAYS,
    outer=WAYS,
    name=st.sampled_from(sorted(WOVEN)),
    at=st.lists(st.integers(0, 4000), max_size=12),
    which=st.lists(st.integers(0, 2), max_size=40),
    chunks=st.lists(st.integers(0, 9000), max_size=20),
    way=WAYS_TO_LOOK,
)
def test_no_key_passes_in_one_of_several_texts_whose_pieces_alternate(
    key: str,
    inner: str,
    outer: str,
    name: str,
    at: list[int],
    which: list[int],
    chunks: list[int],
    way: tuple[bool, tuple[str, ...]],
) -> None:
    said = spelled(key, inner, outer)
    assume(said is not None)
    assert said is not None
    form = WOVEN[name]
    others = ["quite another text, of which nothing is a key " * 3, "123 and so on, €"]
    if form is WOVEN["openai-choices-in-one-event"]:
        del others[1]
    texts = [["", *pieces(b"see " + said + b" end", at)], *([other[:9], other[9:30], other[30:]] for other in others)]
    assume(key.encode() not in form.body([(number, "") for number in range(len(texts))]))
    unread = takes_too_many_steps(key, (form.write(0, piece) for piece in texts[0]))
    order = [*which, *(number for number, text in enumerate(texts) for _ in text)]
    woven = [(number, texts[number].pop(0)) for number in order if number < len(texts) and texts[number]]
    stream = redaction_of(key, way).filter_for(form.media_type)
    assert stream is not None
    body = run(stream, cut(form.body(woven), chunks))
    stays = all(key not in other for other in others)
    assert [form.read(body, number + 1) for number in range(len(others))] == others or not stays
    assert_only_the_key_goes(form.read(body, 0), key, said, inner, outer, unread=unread)


@pytest.mark.parametrize("name", [*WOVEN, *NAMED])
def test_a_key_in_two_halves_with_another_text_between(name: str) -> None:
    form = {**WOVEN, **NAMED}[name]
    redaction = build_redaction(KNOWN, (), Problems())
    for at in range(1, len(KEY)):
        woven = [(0, "see "), (1, "other "), (0, KEY[:at]), (1, "text"), (0, KEY[at:]), (1, "."), (0, " end")]
        stream = redaction.filter_for(form.media_type)
        assert stream is not None
        body = run(stream, cut(form.body(woven), [at * 7, at * 40]))
        assert (form.read(body, 0), form.read(body, 1)) == ("see [redacted] end", "other text."), at


def test_an_escape_in_an_escape_that_the_end_cuts_waits() -> None:
    key = "rVn_bRkP6k_uKIDGT_3D"
    text = LAYERS["zero-width-once"](LAYERS["entities-named"](key.encode()))
    for size in range(1, 12):
        assert run(SecretMatcher([Secret(key)]).filter(), every(b"see " + text, size)) == b"see [redacted]"


@pytest.mark.parametrize("outer", ["utf-16", "utf-16-big"])
@pytest.mark.parametrize("size", [1, 2, 10_000])
def test_a_backtick_before_what_no_reader_sees_in_utf_16(outer: str, size: int) -> None:
    key = "000012`3"
    text = LAYERS[outer](LAYERS["zero-width-once"](key.encode()))
    assert b"[redacted]" in run(SecretMatcher([Secret(key)]).filter(), every(b"see " + text + b" end", size))


def test_a_character_that_no_reader_sees_among_the_first_in_hex() -> None:
    text = b"see 30303030303132e2808b253330 end"
    assert run(SecretMatcher([Secret("0000012%30")]).filter(), [text]) == b"see [redacted] end"


@pytest.mark.parametrize(
    ("key", "inner", "outer", "at"),
    [("2;00001\\", "entities-hex", "url", 36), ("30000000000000124", "soft-hyphens", "url-wide", 17)],
    ids=["escapes", "zeros"],
)
def test_a_second_piece_that_alone_reads_as_the_whole_key(key: str, inner: str, outer: str, at: int) -> None:
    text = (b"see " + (spelled(key, inner, outer) or b"") + b" end").decode()
    for name in ("openai", "ollama", "plain-events", "comments"):
        form = FORMATS[name]
        stream = build_redaction(SecretMatcher([Secret(key)]), (), Problems()).filter_for(form.media_type)
        assert stream is not None
        assert form.read(run(stream, [form.body([text[:at], text[at:]])])) == "see [redacted] end", name


def test_a_first_piece_that_reads_as_the_whole_key_with_the_quote_behind_it() -> None:
    key = '00000012;;"'
    text = (b"see " + (spelled(key, "entities-hex", "entities-hex") or b"") + b" end").decode()
    redaction = build_redaction(SecretMatcher([Secret(key)]), (), Problems())
    for name in ("openai", "ollama", "vercel", "json-in-json"):
        form = FORMATS[name]
        for at in (*range(4, 280, 9), *range(280, len(text) - 4)):
            stream = redaction.filter_for(form.media_type)
            assert stream is not None
            shown = form.read(run(stream, [form.body([text[:at], text[at:]])]))
            assert shown.startswith("see [redacted]"), (name, at)
            assert len(shown) <= len("see [redacted]&#x33;&#x42; end"), "no more than the rest of an escape"


def test_two_spellings_over_two_lines_of_one_event() -> None:
    key = " DYGE;=ZlF%q"
    said = LAYERS["base64-second"](LAYERS["base64-url"](key.encode())).decode()
    redaction = build_redaction(SecretMatcher([Secret(key)]), (), Problems())
    for at in range(1, len(said)):
        stream = redaction.filter_for(FORMATS["data-lines"].media_type)
        assert stream is not None
        body = FORMATS["data-lines"].body(["see " + said[:at], said[at:] + " end"])
        shown = FORMATS["data-lines"].read(run(stream, [body]))
        assert "[redacted]" in shown
        assert len(shown) < len("see [redacted] end") + 8


NOT_FOUND = {
    "reversed": KEY[::-1].encode(),
    "rot13": codecs.encode(KEY, "rot13").encode(),
    "spaced-out": " ".join(KEY).encode(),
    "spaced-hex": KEY.encode().hex(" ").encode(),
    "base32": base64.b32encode(KEY.encode()),
    "base85": base64.b85encode(KEY.encode()),
    "quoted-printable": b"".join(b"=%02X" % byte for byte in KEY.encode()),
    "base64-three-times": base64.b64encode(base64.b64encode(base64.b64encode(KEY.encode()))),
    "compressed": zlib.compress(KEY.encode()),
    "in-words": b"ess kay dash proj dash capital A b nine underscore z and so on",
    "over-64-bytes-each": "".join(f"&#{ord(c):063};" for c in KEY).encode(),
    "elements-between": b"<b></b>".join(b"%c" % byte for byte in KEY.encode()),
    "escapes-of-css": b"".join(b"\\%x " % byte for byte in KEY.encode()),
    "escapes-of-rtf": b"".join(b"\\'%02x" % byte for byte in KEY.encode()),
    "numbers": ", ".join(str(byte) for byte in KEY.encode()).encode(),
    "iso-2022-jp": b"\x1b(B".join(b"%c" % byte for byte in KEY.encode()),
    "ebcdic": KEY.encode("cp037"),
    "utf-7": "".join("+" + base64.b64encode(c.encode("utf-16-be")).decode().rstrip("=") + "-" for c in KEY).encode(),
    "uuencoded": binascii.b2a_uu(KEY.encode()),
    "in-capitals": KEY.upper().encode(),
    "indented-lines": "\n  ".join(KEY[at : at + 9] for at in range(0, 26, 9)).encode(),
    "base64-in-indented-lines": b"\n  ".join(base64.b64encode(KEY.encode())[at : at + 12] for at in range(0, 36, 12)),
    "markdown-between": f"{KEY[:9]}**{KEY[9:17]}**{KEY[17:]}".encode(),
    "colours-of-a-terminal": "".join(f"\x1b[1m{c}\x1b[0m" for c in KEY).encode(),
    "concatenated": f'"{KEY[:9]}" + "{KEY[9:]}"'.encode(),
    "tag-characters": "".join(chr(0xE0000 + ord(c)) for c in KEY).encode(),
    "names-of-characters": "".join(f"\\N{{{unicodedata.name(c)}}}" for c in KEY).encode(),
    "names-of-an-object": f'{{"{KEY[:9]}": 1, "{KEY[9:]}": 2}}'.encode(),
    "look-alikes": KEY.replace("o", "о").encode(),  # a Cyrillic letter
}


@pytest.mark.parametrize("way", NOT_FOUND)
def test_what_the_documentation_says_is_not_found(way: str) -> None:
    text = b"<" + NOT_FOUND[way] + b">"
    assert run(KNOWN.filter(), [text]) == text


ESCAPES: dict[str, Callable[[str], str]] = {
    "json": lambda s: json.dumps(s)[1:-1],
    "url": lambda s: quote(s, safe=""),
    "html": html.escape,
}


@pytest.mark.parametrize("ways", list(itertools.product(ESCAPES, repeat=3)), ids="-".join)
def test_a_key_that_holds_escapes_is_found_in_layers_of_different_kinds(ways: tuple[str, ...]) -> None:
    key = 'Pa%41\\x"q&12#'
    said = key
    for way in (*ways, *ways[:2]):
        said = ESCAPES[way](said)
    assert b"[redacted]" in run(SecretMatcher([Secret(key)]).filter(), [b"see " + said.encode() + b" end"])


def test_a_key_over_two_answers_passes_as_the_documentation_says() -> None:
    redaction = build_redaction(KNOWN, (), Problems())
    for part in (KEY[:9].encode(), KEY[9:].encode()):
        stream = redaction.filter_for(b"text/plain")
        assert stream is not None
        assert run(stream, [part]) == part


LOOKS_LIKE_JSON = {
    "object": ("0000{}", "0012"),
    "list": ("[1,2]00", "12"),
    "object-with-text": ('{"a":"b"}', "cd"),
    "text": ('"abcdefg"', "hi"),
    "text-behind-a-prefix": ('0001"abc"', "12"),
    "text-in-the-middle": ("0001", '"abc"', "12"),
    "object-in-the-middle": ("0001", '{"a":2}', "12"),
    "beginning-of-an-object": ('{"cx', 'dd"d'),
    "beginning-of-an-object-with-text": ('{"cx":"', "dd"),
    "two-of-them": ("0001{}", '"ab"', "[]", "7"),
    "with-its-escapes": ('0001{"a":"\\u0041"}', "12"),
}
"""Keys in pieces of which one is JSON by itself."""


@pytest.mark.parametrize("patterns", [(), sorted(PATTERN_NAMES)], ids=["known", "with-patterns"])
@pytest.mark.parametrize("name", LOOKS_LIKE_JSON)
def test_a_key_of_which_a_piece_looks_like_json(name: str, patterns: Sequence[str]) -> None:
    parts = LOOKS_LIKE_JSON[name]
    redaction = build_redaction(SecretMatcher([Secret("".join(parts))]), patterns, Problems())
    for way, form in FORMATS.items():
        stream = redaction.filter_for(form.media_type)
        assert stream is not None
        shown = form.read(run(stream, [form.body(["see ", *parts, " end"])]))
        assert shown in ("see [redacted] end", "see 000[redacted] end", "see 0001[redacted] end"), way
        assert stream.counts == {"known": 1}, way


@pytest.mark.parametrize("before", ["ping", "0", ""])
def test_a_key_in_pieces_of_json_behind_events_that_are_none(before: str) -> None:
    stream = build_redaction(KNOWN, (), Problems()).filter_for(b"text/event-stream")
    assert stream is not None
    plain = [b"data: %s%d\n\n" % (before.encode(), number) for number in range(5)]
    pieces = [b'data: {"content": "%s"}\n\n' % piece for piece in every(KEY.encode(), 5)]
    shown = [stream.feed(each) for each in (*plain, *pieces)]
    shown.append(stream.finish())
    assert b"".join(shown) == b"".join(plain) + b'data: {"content": "[redacted]"}\n\n' + (
        b'data: {"content": ""}\n\n' * (len(pieces) - 1)
    )


def test_text_between_which_json_comes_is_one_text_with_it_and_without_it() -> None:
    for between in ('{"ping":1}', "{}", '"note"', '{"note":"x"}'):
        stream = build_redaction(KNOWN, (), Problems()).filter_for(b"text/event-stream")
        assert stream is not None
        pieces = ["see ", KEY[:9], between, KEY[9:], " end"]
        body = run(stream, FORMATS["plain-events"].body(pieces).splitlines(keepends=True))
        assert FORMATS["plain-events"].read(body) == f"see [redacted]{between} end"
