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


def read(reader: FrameReader, raw: bytes, size: int) -> list[Frame]:
    """Give the reader the bytes in pieces, as a connection does; at most one piece is ever held."""
    frames, buffer, at = [], b"", 0
    for piece in range(0, len(raw), size):
        buffer += raw[piece : piece + size]
        while True:
            frame, at = reader.take(buffer, at)
            if frame is None:
                break
            frames.append(frame)
        buffer, at = buffer[at:], 0
        assert len(buffer) < 1024 + size
    return frames


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20], ids=str)
@pytest.mark.parametrize("mask", [True, False], ids=["client", "server"])
def test_a_message_that_is_too_big_is_skipped_up_to_a_bound(mask: bool, size: int):
    reader = FrameReader(masked=mask, max_message=1000, max_skipped=16_000)
    small, big = Frame(TEXT, b"next"), b"0123456789" * 900
    raw = encode(Frame(TEXT, big), mask=mask) + encode(small, mask=mask)
    assert read(reader, raw, size) == [Frame(TEXT, big[:4096], skipped=9000), small]


def test_fragments_of_a_message_that_is_too_big():
    reader = FrameReader(masked=True, max_message=1000, max_skipped=16_000)
    parts = [Frame(BINARY, b"a" * 600, fin=False), Frame(0, b"b" * 600, fin=False), Frame(9, b"ping"), Frame(0, b"")]
    found = read(reader, b"".join(encode(part, mask=True) for part in [*parts, Frame(TEXT, b"next")]), 64)
    assert found == [parts[0], Frame(0, b"b" * 600, fin=False, skipped=600), parts[2], parts[3], Frame(TEXT, b"next")]


@pytest.mark.parametrize(
    ("frames", "most"),
    [
        ([Frame(TEXT, b"a" * 16_001)], 16_000),
        ([Frame(TEXT, b"a" * 9000, fin=False), Frame(0, b"a" * 7001)], 16_000),
        ([Frame(TEXT, b"a" * 1001)], 0),
    ],
    ids=["one frame", "fragments", "nothing is skipped"],
)
def test_beyond_the_bound_is_an_error(frames: list[Frame], most: int):
    reader = FrameReader(masked=True, max_message=1000, max_skipped=most)
    with pytest.raises(FrameError) as refused:
        read(reader, b"".join(encode(frame, mask=True) for frame in frames), 4096)
    assert refused.value.code == TOO_BIG
