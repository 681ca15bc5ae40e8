"""Frames as bytes: what RFC 6455 does not allow is refused, however it was cut."""

from __future__ import annotations

import pytest

from sidecar.proxy.codec.websocket_frames import (
    BINARY,
    CLOSE,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Frame,
    FrameError,
    FrameReader,
    encode,
)

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70_000]


@pytest.mark.parametrize("mask", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read_back(size: int, mask: bool):
    frame = Frame(BINARY, b"x" * size)
    reader = FrameReader(masked=mask, max_message=70_000)
    raw = encode(frame, mask=mask)
    assert reader.take(raw[:-1] if size else raw[:1])[0] is None
    assert reader.take(raw + b"rest") == (frame, len(raw))


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"\x81\x7e\x00\x05hello", PROTOCOL_ERROR, id="two bytes for a length that one says"),
        pytest.param(b"\x81\x7e\x00\x7d", PROTOCOL_ERROR, id="two bytes for 125"),
        pytest.param(b"\x81\x7f" + (65535).to_bytes(8, "big"), PROTOCOL_ERROR, id="eight bytes for 65535"),
        pytest.param(b"\x81\x7f\x80" + bytes(7), TOO_BIG, id="the highest bit of a length"),
        pytest.param(b"\x88\x7e\x00\x7e", PROTOCOL_ERROR, id="a long control frame"),
    ],
)
def test_lengths_take_no_more_bytes_than_they_need(raw: bytes, code: int):
    with pytest.raises(FrameError) as refused:
        FrameReader(masked=False, max_message=1024).take(raw)
    assert refused.value.code == code


def test_the_shortest_lengths_of_each_kind_pass():
    for size in (126, 65536):
        assert FrameReader(masked=False, max_message=65536).take(encode(Frame(TEXT, b"a" * size), mask=False))[0]
    assert FrameReader(masked=False, max_message=0).take(b"\x88\x00") == (Frame(CLOSE, b""), 2)


def test_frames_follow_one_another_in_one_buffer():
    reader = FrameReader(masked=True, max_message=1024)
    frames = [Frame(TEXT, b"a" * size) for size in (0, 5, 200)]
    buffer, at = b"".join(encode(frame, mask=True) for frame in frames) + b"\x81", 0
    for frame in frames:
        found, at = reader.take(buffer, at)
        assert found == frame
    assert reader.take(buffer, at) == (None, len(buffer) - 1)
