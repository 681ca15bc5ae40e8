"""Texts at one place that only names tell apart: announced ones from the first piece on, others once a name comes again."""

from __future__ import annotations

import json

import pytest

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.records import Piece
from sidecar.redaction.text_names import MAX_NAMES, TextNames
from sidecar.secret import Secret
from tests.support.redaction import run

KEY = "sk-proj-Ab9_z0123456789x"
REDACTION = build_redaction(SecretMatcher([Secret(KEY)]), (), Problems())


def events(*records: tuple[str, str] | str) -> list[bytes]:
    """Write (id, text), or an id that is announced."""
    made = [
        {"type": "start", "id": record} if isinstance(record, str) else {"id": record[0], "delta": record[1]}
        for record in records
    ]
    return [b"data: %b\n\n" % json.dumps(record).encode() for record in made]


def texts(*records: tuple[str, str] | str) -> dict[str, str]:
    """Return what a reader sees of each text."""
    stream = REDACTION.filter_for(b"text/event-stream")
    assert stream is not None
    found: dict[str, str] = {}
    for line in run(stream, events(*records)).split(b"\n\n"):
        record = json.loads(line[6:] or b"{}")
        if "delta" in record:
            found[record["id"]] = found.get(record["id"], "") + record["delta"]
    return found


def test_announced_names_tell_texts_apart_from_the_first_piece_on() -> None:
    halves = [("a", KEY[:9]), ("b", "other "), ("a", KEY[9:]), ("b", "text")]
    assert texts("a", "b", *halves) == {"a": "[redacted]", "b": "other text"}


def test_names_that_come_again_tell_texts_apart() -> None:
    woven = [("a", "so "), ("b", "it "), ("a", "is "), ("b", "goes "), ("a", KEY[:9]), ("b", "on"), ("a", KEY[9:])]
    assert texts(*woven) == {"a": "so is [redacted]", "b": "it goes on"}


def test_a_text_goes_on_after_a_name_that_came_once() -> None:
    woven = [("a", "so " + KEY[:9]), ("b", "it"), ("a", KEY[9:] + " and"), ("b", " goes")]
    shown = texts(*woven)
    assert shown["b"] == "it goes"
    assert shown["a"] == "so sk-proj-A[redacted] and", "half of it had left before it was known to go on"


def test_one_text_may_have_a_new_name_in_each_record() -> None:
    pieces = [(f"chatcmpl-{number}", piece) for number, piece in enumerate(["see ", *KEY, " end", "."])]
    assert "".join(texts(*pieces).values()) == "see [redacted] end."


def test_a_name_that_only_some_pieces_have_is_the_same_text() -> None:
    stream = REDACTION.filter_for(b"application/x-ndjson")
    assert stream is not None
    calls = [{"id": "call-1", "arguments": '{"a": "' + KEY[:9]}, {"arguments": KEY[9:] + '"}'}]
    lines = [json.dumps({"id": "c-1", "calls": [call]}).encode() + b"\n" for call in ({"arguments": ""}, *calls)]
    assert KEY[9:].encode() not in run(stream, lines)


@pytest.mark.parametrize("count", [3, 3 * MAX_NAMES])
def test_the_names_are_bounded(count: int) -> None:
    names = TextNames()
    for number in range(count):
        name = Piece(("data", "id"), 1, 2, b"%d" % number, True, False)
        names.told_apart([name, Piece(("data", "delta"), 3, 4, b"x", True, True)])
        names.switches.clear()
    assert names.is_seen(b"%d" % (count - 1))
    assert names.is_seen(b"0") == (count < MAX_NAMES)
