"""No key passes in pieces, whatever the format of the stream; streams without one pass byte for byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.redaction.filters import PATTERN_NAMES, Redaction, build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret
from tests.support.redaction import cut, every, run
from tests.support.streams import FORMATS

KEY = "sk-proj-Ab9_z0123456789x"
NAMES = sorted(FORMATS)
PLACES = st.lists(st.integers(0, 5000), max_size=9)


def build(*secrets: str) -> Redaction:
    return build_redaction(SecretMatcher(map(Secret, secrets)), (), Problems())


KNOWN = build(KEY)


def passed(redaction: Redaction, name: str, body: bytes, places: list[int]) -> bytes:
    stream = redaction.filter_for(FORMATS[name].media_type)
    assert stream is not None
    return run(stream, cut(body, places))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 17])
@pytest.mark.parametrize("name", NAMES)
def test_a_key_in_pieces_does_not_pass(name: str, size: int) -> None:
    form = FORMATS[name]
    text = f"My key is {KEY}, is it not?"
    body = form.body([text[at : at + size] for at in range(0, len(text), size)])
    for chunk in (7, 64, len(body)):
        stream = KNOWN.filter_for(form.media_type)
        assert stream is not None
        shown = form.read(run(stream, every(body, chunk)))
        assert shown.startswith("My key is ")
        assert shown.endswith("[redacted], is it not?")
        assert KEY[8:] not in shown
        assert len(shown) <= len("My key is [redacted], is it not?") + 3, "three bytes may leave before it is seen"


LONG = "sk-proj-" + "Qx7Lm2Zp9Vt4Kc8Hd3Wb6Nr5Js1Yf0GaUe-iOq_TzXwPnMlBvCkEhRgDyAuSoFjI7t6r5e4w3q2"
SHAPED = build_redaction(SecretMatcher([Secret(LONG)]), sorted(PATTERN_NAMES), Problems())


@pytest.mark.parametrize("before", [0, 1, 2, 5])
@pytest.mark.parametrize("cut_at", [29, 60, 80])
@pytest.mark.parametrize("name", NAMES)
def test_the_rest_of_a_key_whose_first_piece_looks_whole_does_not_pass(name: str, cut_at: int, before: int) -> None:
    """The first piece has the shape of a key, and is none: what follows it belongs to the key that is stored."""
    form = FORMATS[name]
    pieces = [*(f"word{number} " for number in range(before)), "my ", LONG[:cut_at], LONG[cut_at:], " and", " on"]
    body = form.body(pieces)
    for chunk in (7, 64, len(body)):
        stream = SHAPED.filter_for(form.media_type)
        assert stream is not None
        shown = form.read(run(stream, every(body, chunk)))
        assert shown == "".join(pieces[: before + 1]) + "[redacted] and on"


@settings(deadline=None)
@given(name=st.sampled_from(NAMES), text=st.text("sk-proj Ab9_.ü😀", max_size=60), at=PLACES, chunks=PLACES)
def test_a_stream_without_a_key_passes_byte_for_byte(name: str, text: str, at: list[int], chunks: list[int]) -> None:
    inside = sorted({place % (len(text) + 1) for place in at} | {0, len(text)})
    pieces = [text[start:end] for start, end in pairwise(inside)]
    body = FORMATS[name].body(pieces)
    assert passed(KNOWN, name, body, chunks) == body


@settings(deadline=None)
@given(name=st.sampled_from(NAMES), at=PLACES, chunks=PLACES)
def test_no_cut_lets_a_key_pass(name: str, at: list[int], chunks: list[int]) -> None:
    pieces = [piece.decode() for piece in cut(f"see {KEY} end".encode(), at)]
    shown = FORMATS[name].read(passed(KNOWN, name, FORMATS[name].body(pieces), chunks))
    assert KEY[3:] not in shown
    assert shown.startswith("see ")
    assert shown.endswith("[redacted] end")


def test_texts_that_are_interleaved_are_kept_apart() -> None:
    lines = [
        b'{"a":"sk-proj-","b":"fine "}\n',
        b'{"a":"Ab9_z012","b":"text"}\n',
        b'{"a":"3456789x","b":"!"}\n',
    ]
    stream = KNOWN.filter_for(b"application/x-ndjson")
    assert stream is not None
    assert run(stream, lines) == (b'{"a":"[redacted]","b":"fine "}\n{"a":"","b":"text"}\n{"a":"","b":"!"}\n')


def test_text_is_not_held_until_its_line_ends() -> None:
    stream = KNOWN.filter_for(b"text/plain")
    assert stream is not None
    assert [stream.feed(piece) for piece in (b"I", b" say: ", b"hello s", b"ir", b"\nnext")] == [
        b"I", b" say: ", b"hello ", b"sir", b"\nnext",
    ]  # fmt: skip


def test_a_value_is_not_held_until_the_next_one_begins() -> None:
    stream = KNOWN.filter_for(b"application/json")
    assert stream is not None
    sent = [b'{"a":"b}{"}', b'{"a":', b'"c"}{"a":"d"}', b"\n", b'{"a":"e"}\n']
    assert [stream.feed(piece) for piece in sent] == [sent[0], b"", sent[1] + sent[2], sent[3], sent[4]]


def test_a_document_over_many_lines_passes_as_it_comes() -> None:
    stream = KNOWN.filter_for(b"application/json")
    assert stream is not None
    assert stream.feed(b'{\n "a": "b",\n "c"') == b'{\n "a": "b",\n "c"'
    assert stream.feed(b': "sk-proj-') == b': "'
    assert stream.feed(KEY[8:].encode() + b'"') == b'[redacted]"'


def test_a_long_line_is_held_no_longer_than_it_may_be_a_record() -> None:
    stream = KNOWN.filter_for(b"application/json")
    assert stream is not None
    body = b'{"text":"' + b"word " * 2000
    assert stream.feed(body) == body
    assert stream.feed(KEY.encode() + b'"}') + stream.finish() == b'[redacted]"}'


def test_a_line_or_message_that_is_a_json_string() -> None:
    stream = KNOWN.filter_for(b"application/x-ndjson")
    assert stream is not None
    assert run(stream, [b'"my sk-proj-"\n', b'"Ab9_z0123456789x!"\n']) == b'"my [redacted]"\n"!"\n'
    frames = KNOWN.frames()
    assert frames is not None
    assert frames.take(b'"hello"', binary=False) == [(b'"hello"', False)]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "json" in name or name in {"openai", "ollama", "vercel", "gemini"}]
)
def test_a_key_that_ends_in_a_quote_takes_no_framing(name: str) -> None:
    key = 'ab%41cd\\x"'
    pieces = ["see ab%41cd\\x", "\\", " and ab%41cd\\x\\", "end"]
    redaction = build(key, 'pass-word\\"')
    body = FORMATS[name].body([*pieces, "pass-word\\", ""])
    shown = FORMATS[name].read(passed(redaction, name, body, []))
    assert shown.startswith("see "), "each record stays one that a reader understands"


@pytest.mark.parametrize("name", ["ollama", "openai", "ndjson-as-bytes", "json-in-json"])
def test_a_record_whose_rest_is_replaced_unread_stays_a_record(name: str) -> None:
    key = "\\" * 10 + "secret"
    form = FORMATS[name]
    body = form.body(["fine ", "see " + "\\" * 1500, "!"])
    assert form.read(passed(build(key), name, body, [])).startswith("fine see [redacted]")


SHAPELESS = "Q7xv2mPkL9sT4wZn8bRc3dYf6hJg1aKe5uWi0oXt"
STORED = {
    "openai": (LONG, "openai"),
    "anthropic": ("sk-ant-api03-" + "Ab9_z-" * 15 + "abcAA", "anthropic"),
    "stripe": ("sk_live_" + "a1B2c3D4e5F6g7H8i9J0k1L2", "stripe"),
    "aws": ("AKIA" + "Q7XV2MPKL3ST4WZN", "aws"),
    "github": ("ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "github"),
}


def waits(redaction: Redaction, guess: str) -> bool:
    """Return whether a text that ends with a guess is held, as a client sees it."""
    stream = redaction.filter_for(b"text/event-stream")
    assert stream is not None
    return not stream.feed(FORMATS["openai"].write("is it " + guess))


def tells(redaction: Redaction, key: str) -> list[int]:
    """Return the lengths of beginnings at which waiting says whether the last character is right."""
    wrong = {size: key[: size - 1] + ("Z" if key[size - 1] != "Z" else "Y") for size in range(1, len(key))}
    return [size for size in range(1, len(key)) if waits(redaction, key[:size]) != waits(redaction, wrong[size])]


def test_what_waiting_tells() -> None:
    """Left, as the documentation says: a key of no known shape can be found out from its first character on."""
    assert len(tells(build(SHAPELESS), SHAPELESS)) > 25


@pytest.mark.parametrize("name", STORED)
def test_waiting_tells_nothing_of_a_key_whose_shape_is_looked_for(name: str) -> None:
    key, pattern = STORED[name]
    redaction = build_redaction(SecretMatcher([Secret(key)]), (pattern,), Problems())
    assert [size for size in tells(redaction, key) if size > 8] == []
