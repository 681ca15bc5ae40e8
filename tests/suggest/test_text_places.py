"""Where the strings of bodies and messages stand: JSON, packets, forms, queries, protocol buffers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.json_path import compile_path
from sidecar.suggest.text_places import (
    MAX_STRINGS,
    of_binary,
    of_json,
    of_multipart,
    of_packet,
    of_polling,
    of_query,
    of_urlencoded,
)


def places(found) -> list[tuple[str, str, str]]:
    return [(place.path, place.event, text) for place, text in found or ()]


JSON = {
    "plain": ({"message": "hi"}, [("$.message", "", "hi")]),
    "a list of turns": (
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        [
            ("$.messages[*].role", "", "user"), ("$.messages[*].content", "", "a"),
            ("$.messages[*].role", "", "user"), ("$.messages[*].content", "", "b"),
        ],
    ),
    "arguments": ({"data": ["a", 1, None, "b"]}, [("$.data[0]", "", "a"), ("$.data[3]", "", "b")]),
    "mixed arguments": ({"data": [{"text": "a"}, [["b"]]]}, [("$.data[0].text", "", "a"), ("$.data[1][*][0]", "", "b")]),
    "an odd name": ({"a b:c'd": "x"}, [("$['a b:c\\'d']", "", "x")]),
    "JSON in a string": ({"p": '{"q":"x"}'}, [("$.p", "", '{"q":"x"}'), ("$.p | $.q", "", "x")]),
    "a text alone": ("x", [("$", "", "x")]),
}  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), JSON.values(), ids=JSON)
def test_json(value, expected) -> None:
    found = places(of_json(json.dumps(value).encode()))
    assert found == expected
    for path, _, text in found:
        if " | " not in path:
            assert text in [held for _, held in compile_path(path).find(value)]


def test_what_is_no_json_and_what_is_too_much() -> None:
    assert of_json(b"{broken") is None
    assert len(places(of_json(json.dumps(["x"] * 50_000).encode()))) <= MAX_STRINGS
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    assert places(of_json(json.dumps(deep).encode())) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('42["client_message",{"message":{"output":"hi"}}]', ("$[1].message.output", "client_message", "hi")),
        ('42/chat,7["event",{"args":["hi"]}]', ("$[1].args[0]", "event", "hi")),
        ('{"type":"say","text":"hi"}', ("$.text", "", "hi")),
    ],
)  # fmt: skip
def test_packets(text, expected) -> None:
    assert expected in places(of_packet(text))
    assert expected in places(of_polling(text.encode() + b"\x1e2"))


@pytest.mark.parametrize("text", ["2", "", "40", "no json", "42"])
def test_packets_without_text(text) -> None:
    assert not places(of_packet(text))


def test_forms_and_queries() -> None:
    assert places(of_urlencoded(b"message=a+b&x=%3C")) == [("$.message", "", "a b"), ("$.x", "", "<")]
    assert places(of_query(b"/search?q=a%20b&page=2")) == [("$.q", "", "a b"), ("$.page", "", "2")]
    body = (
        b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\nhi there\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nsecret\r\n--b--\r\n'
    )
    assert places(of_multipart(body)) == [("$.message", "", "hi there")]


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def test_protocol_buffers_without_their_schema() -> None:
    message = field(11, field(3, field(1, b"$$ID-chat") + field(6, b"hello there"))) + b"\x10\x07"
    assert places(of_binary(message)) == [("11.3.1", "", "$$ID-chat"), ("11.3.6", "", "hello there")]
    assert places(of_binary(b'{"a":"b"}')) == [("$.a", "", "b")]
    assert not places(of_binary(bytes(range(256))))


@given(st.binary(max_size=300))
def test_no_bytes_break_it(data) -> None:
    for found in (of_json(data), of_binary(data), of_urlencoded(data), of_multipart(data), of_polling(data)):
        assert len(list(found or ())) <= 2 * MAX_STRINGS
