"""What the filter of a stream asks of its scanner."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.redaction.scanner import Hit, StreamFilter


class AllLive:
    """Finds everything live, up to its reach; counts the bytes that it was given."""

    framing = True
    known = None
    reach = 60_000

    def __init__(self) -> None:
        self.given = 0

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        self.given += len(text)
        return (), len(text) if final else max(0, len(text) - self.reach)


def test_small_pieces_of_what_waits_long_are_not_scanned_over_and_over() -> None:
    scanner = AllLive()
    stream = StreamFilter(scanner)
    text = bytes(range(250)) * 200
    out = b"".join(stream.feed(text[at : at + 50]) for at in range(0, len(text), 50)) + stream.finish()
    assert out == text
    assert scanner.given < 12 * len(text)


def test_what_waits_briefly_is_scanned_with_each_piece() -> None:
    scanner = AllLive()
    scanner.reach = 10
    stream = StreamFilter(scanner)
    assert [stream.feed(piece) for piece in (b"0123456789", b"a", b"b")] == [b"", b"0", b"1"]
    assert stream.finish() == b"23456789ab"
