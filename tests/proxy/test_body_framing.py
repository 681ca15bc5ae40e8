"""Bodies of known lengths."""

from __future__ import annotations

from sidecar.proxy.body_framing import LengthBody, chunk


def test_a_length_leaves_the_next_request_alone() -> None:
    body = LengthBody(3)
    assert body.take(b"ab") == (b"ab", b"")
    assert body.take(b"cGET") == (b"c", b"GET")
    assert body.done


def test_an_empty_piece_is_no_chunk() -> None:
    assert (chunk(b""), chunk(b"abc")) == (b"", b"3\r\nabc\r\n")
