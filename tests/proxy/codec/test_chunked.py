"""Chunked bodies: odd syntax is refused, whole ones come back at any cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.proxy.body_framing import chunk
from sidecar.proxy.codec.chunked import ChunkedRequest, ChunkedResponse
from sidecar.proxy.strict_rules import Malformed

Chunked = ChunkedRequest | ChunkedResponse
KINDS = pytest.mark.parametrize("kind", [ChunkedRequest, ChunkedResponse])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"5\n", id="bare-lf"),
        pytest.param(b"0x5\r\nhello\r\n", id="hex-prefix"),
        pytest.param(b"-5\r\nhello\r\n", id="minus"),
        pytest.param(b" 5\r\nhello\r\n", id="leading-blank"),
        pytest.param(b"5 \r\nhello\r\n", id="trailing-blank"),
        pytest.param(b"5\r\nhelloX", id="data-too-long"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n", id="lf-after-data"),
        pytest.param(b"\r\n5\r\nhello\r\n", id="empty-size"),
        pytest.param(b"5; a\r\nhello\r\n", id="blank-in-extension"),
        pytest.param(b"5;a\x00\r\nhello\r\n", id="nul-in-extension"),
        pytest.param(b"5;\r\nhello\r\n", id="empty-extension"),
        pytest.param(b"5;" + b"a" * 5000, id="endless-extension"),
        pytest.param(b"FFFFFFFFFFFFFFFFF\r\n", id="size-overflow"),
        pytest.param(b"0\r\nbad trailer\r\n\r\n", id="odd-trailer"),
        pytest.param(b"0\r\nA: b\n\r\n", id="lf-in-trailer"),
        pytest.param(b"0\r\nA: " + b"b" * 9000, id="endless-trailer"),
    ],
)
@KINDS
@pytest.mark.parametrize("size", [1, 7, 1 << 16], ids=["byte-by-byte", "by-sevens", "at-once"])
def test_odd_chunk_syntax_is_refused(kind: type[Chunked], body: bytes, size: int) -> None:
    with pytest.raises(Malformed):
        read(kind(), body, size)


def read(reader: Chunked, body: bytes, size: int) -> tuple[bytes, bytes]:
    got, left = b"", b""
    for at in range(0, len(body), size):
        piece, left = reader.take(left + body[at : at + size])
        got += piece
    return got, left


PARTS = [
    b"5",
    b"0",
    b"1\r\na",
    b"\r\n",
    b"\n",
    b"\r",
    b";",
    b"a",
    b"=",
    b'"',
    b" ",
    b"A: b",
    b":",
    b"\x00",
    b"\xff",
    b"hello",
    b"f",
]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join), st.integers(1, 9))
def test_requests_and_responses_are_read_alike(body: bytes, size: int) -> None:
    found = []
    for kind in (ChunkedRequest, ChunkedResponse):
        reader: Chunked = kind()
        try:
            found.append((read(reader, body, size), reader.done))
        except Malformed:
            found.append(((b"refused", b""), False))
    assert found[0] == found[1]


@KINDS
@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=6), data=st.data())
def test_chunks_come_back_whole_at_any_cut(kind: type[Chunked], pieces: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(chunk(piece) for piece in pieces) + b"0\r\nTrailer: x\r\n\r\nNEXT"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=8)))
    reader, left, got = kind(), b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        piece, left = reader.take(left + wire[start:end])
        got += piece
    assert (got, left, reader.done) == (b"".join(pieces), b"NEXT", True)


@KINDS
def test_trailers_never_become_fields_of_what_follows(kind: type[Chunked]) -> None:
    body = kind()
    data = b"1\r\na\r\n0\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    assert body.take(data) == (b"a", b"GET / HTTP/1.1\r\n\r\n")
    assert body.done


@KINDS
def test_data_that_looks_like_the_end_is_data(kind: type[Chunked]) -> None:
    body = kind()
    assert body.take(b"9\r\n0\r\n\r\n\r\n\r\n\r\n0\r\n\r\nNEXT") == (b"0\r\n\r\n\r\n\r\n", b"NEXT")
