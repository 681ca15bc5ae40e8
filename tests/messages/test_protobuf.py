from __future__ import annotations

import pytest

from sidecar.messages.protobuf import Malformed, put_back, texts

# 1: "hi", 2: {1: "a", 9: 5}, 3: 5, 99: "x"
MESSAGE = b"\x0a\x02hi" + b"\x12\x05\x0a\x01a\x48\x05" + b"\x18\x05" + b"\x9a\x06\x01x"
PATHS = frozenset({(1,), (2, 1)})


def test_texts_are_found_at_their_paths():
    assert [(each.path, each.text) for each in texts(MESSAGE, PATHS)] == [((1,), "hi"), ((2, 1), "a")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, MESSAGE),
        ({0: ""}, MESSAGE.replace(b"\x0a\x02hi", b"\x0a\x00")),
        ({1: "bcd"}, MESSAGE.replace(b"\x12\x05\x0a\x01a", b"\x12\x07\x0a\x03bcd")),
        ({0: "x" * 200, 1: ""}, b"\x0a\xc8\x01" + b"x" * 200 + b"\x12\x04\x0a\x00\x48\x05" + MESSAGE[11:]),
    ],
    ids=["nothing", "emptied", "longer inside", "a length of two bytes"],
)
def test_changed_texts_are_put_back_and_the_rest_stays(changes, expected):
    assert put_back(MESSAGE, texts(MESSAGE, PATHS), changes) == expected


def test_an_overlong_length_is_written_anew_only_where_a_text_changed():
    message = b"\x12\x85\x80\x00\x0a\x81\x00a\x48" + b"\x05"  # not canonical, and cut: {1: "a" …
    with pytest.raises(Malformed):
        texts(message, PATHS)
    message = b"\x12\x84\x80\x00\x0a\x81\x00a" + b"\x1a\x81\x00z"
    found = texts(message, PATHS)
    assert put_back(message, found, {}) == message
    assert put_back(message, found, {0: "b"}) == b"\x12\x03\x0a\x01b" + b"\x1a\x81\x00z"


def test_two_occurrences_of_a_message_are_both_read():
    message = b"\x12\x03\x0a\x01a" * 2
    found = texts(message, PATHS)
    assert put_back(message, found, {0: "x", 1: "y"}) == b"\x12\x03\x0a\x01x\x12\x03\x0a\x01y"


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05hi", b"\x0b\x0c", b"\x07", b"\x00\x00", b"\xff" * 11, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0a\x01\xff"],
    ids=["no length", "too long", "group", "wire type 7", "field 0", "long varint", "beyond 64 bits", "not UTF-8"],
)  # fmt: skip
def test_what_is_no_message_is_malformed(data):
    with pytest.raises(Malformed):
        texts(data, PATHS)
