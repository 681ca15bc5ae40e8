"""A record on its way, and one of the texts that run over records: what of them is not decided yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sidecar.redaction.records import Piece, rewritten
from sidecar.redaction.scanner import OUTSIDE, Scanner


class Record:
    """One record on its way: its bytes, its texts, and what becomes of them.

    clean    replaces what of a secret in one of its texts is left when it leaves; None: there was none
    changed  the new text of pieces, by their numbers
    waits    pieces that are not decided
    """

    __slots__ = ("binary", "changed", "clean", "pieces", "raw", "waits")

    def __init__(self, raw: bytes, pieces: list[Piece], *, binary: bool = False) -> None:
        self.raw = raw
        self.pieces = pieces
        self.binary = binary
        self.clean: Callable[[bytes], bytes] | None = None
        self.changed: dict[int, bytes] | None = None
        self.waits = 0

    def change_of(self, number: int) -> bytes | None:
        """Return what has been put in the place of a piece; None: nothing."""
        return None if self.changed is None else self.changed.get(number)

    def change(self, number: int, text: bytes) -> None:
        """Put another text in the place of a piece."""
        if self.changed is None:
            self.changed = {}
        self.changed[number] = text

    def leave(self) -> bytes:
        """Return the bytes to send: the record as it came, or written again with its changed texts."""
        raw = self.raw if self.changed is None else rewritten(self.raw, self.pieces, self.changed)
        return raw if self.clean is None else self.clean(raw)


class Text:
    """One text: the pieces whose end is not decided, and the state of their scan.

    scanner  what looks for hits in it
    before   the end of what has passed
    text     what the pieces say together, b"" if there are none
    covered  bytes of what comes that belong to a hit whose mark has been written
    """

    __slots__ = ("before", "covered", "pieces", "scanner", "text")

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.before = OUTSIDE
        self.text = b""
        self.covered = 0
        self.pieces: list[tuple[Record, int]] = []  # mostly empty: an empty deque takes 760 bytes for each text


def leave(records: Iterable[Record]) -> list[bytes]:
    """Return the bytes of records that leave."""
    return [record.leave() for record in records]
