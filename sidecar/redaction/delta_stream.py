"""Texts that arrive in pieces, one piece an event: what no single event shows is found in the joined text.

Events leave whole and in order. One waits only while one of its pieces ends in what may be the
beginning of a hit, and then those behind it wait too; an event without a hit leaves byte for byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sidecar.redaction.deltas import Delta
from sidecar.redaction.scanner import OUTSIDE, Hit, Scanner, context, rewrite, tally

MAX_WAITING_BYTES: Final = 256 * 1024
MAX_WAITING_EVENTS: Final = 4096
MAX_CHANNELS: Final = 256
_UNREAD: Final = 16  # events that passed unread and may still be asked what stood at their end
_CONTEXT: Final = len(context(OUTSIDE, bytes(16)))
LIVE_AT_THE_BOUND: Final = "undecided"

Changes: TypeAlias = dict[tuple[str | int, ...], str]
"""Path in the event → the text that stands there instead."""


@dataclass(slots=True, eq=False)
class Event:
    """One event on its way: its bytes, and what becomes of its texts."""

    raw: bytes
    build: Callable[[bytes, Changes], bytes]
    changed: Changes = field(default_factory=dict)
    waits: int = 0  # pieces that are not decided

    def leave(self) -> bytes:
        return self.build(self.raw, self.changed) if self.changed else self.raw


@dataclass(slots=True, eq=False)
class _Piece:
    event: Event
    path: tuple[str | int, ...]
    text: bytes


class _Channel:
    """One text: the pieces whose end is not decided, and the state of their scan."""

    __slots__ = ("at", "before", "covered", "pieces", "text")

    def __init__(self) -> None:
        self.at = 0  # how many events had passed unread when `before` was true
        self.pieces: deque[_Piece] = deque()
        self.text = b""
        self.before = OUTSIDE
        self.covered = 0


class DeltaStream:
    """Scan the texts of a stream of events across their borders; bounded in bytes, events and texts.

    At a bound nothing waits any longer: what was live is replaced, as if it had been a hit, and
    counted as `undecided`.
    """

    __slots__ = ("_bytes", "_channels", "_count", "_queue", "_read", "_scanner", "_unread", "counts")

    def __init__(
        self, scanner: Scanner, counts: dict[str, int], read: Callable[[bytes], Sequence[Delta]] | None = None
    ) -> None:
        self._scanner = scanner
        self._read = read
        self._unread: deque[bytes] = deque(maxlen=_UNREAD)
        self._count = 0
        self._channels: dict[tuple[Any, ...], _Channel] = {}
        self._queue: deque[Event] = deque()
        self._bytes = 0
        self.counts = counts

    @property
    def idle(self) -> bool:
        """Whether no event waits."""
        return not self._queue

    def skip(self, raw: bytes) -> None:
        """Take an event that passes unread: nothing is in its texts, and nothing begins at their ends."""
        self._unread.append(raw)
        self._count += 1

    def _outside(self, name: tuple[Any, ...], channel: _Channel) -> bytes:
        """Return the end of what has passed of a text, asking the events that passed unread since it was known."""
        behind = self._count - channel.at
        if behind and self._read is not None:
            channel.before = self._reread(name, channel.before, behind)
            channel.at = self._count
        return channel.before

    def _reread(self, name: tuple[Any, ...], before: bytes, behind: int) -> bytes:
        assert self._read is not None
        found = b""
        for at in range(1, min(behind, len(self._unread)) + 1):
            texts = [delta.text for delta in self._read(self._unread[-at]) if delta.channel == name]
            found = "".join(texts).encode("utf-8", "surrogatepass") + found
            if len(found) >= _CONTEXT:
                return found[-_CONTEXT:]
        # Too long ago: a key that may stand inside a word is taken for one.
        return context(before, found) if behind <= len(self._unread) else OUTSIDE

    def passes(self, deltas: Sequence[Delta]) -> bool:
        """Say whether an event with at most one delta may leave at once, as most do; if so, it is taken."""
        if self._queue or len(deltas) > 1:
            return False
        if not deltas:
            return True
        name = deltas[0].channel
        channel = self._channels.get(name)
        if channel is None or channel.covered:
            return False
        text = deltas[0].text.encode("utf-8", "surrogatepass")
        hits, live = self._scanner.scan(text, self._outside(name, channel), False)
        if hits or live != len(text):
            return False
        channel.before = context(channel.before, text)
        return True

    def push(self, event: Event, deltas: Sequence[Delta]) -> list[bytes]:
        """Take the next event; return the events that may leave now, as bytes."""
        for delta in deltas:
            self._extend(event, delta)
        if not event.waits and not self._queue:
            return [event.leave()]
        self._queue.append(event)
        self._bytes += len(event.raw)
        if self._bytes > MAX_WAITING_BYTES or len(self._queue) > MAX_WAITING_EVENTS:
            self._decide(LIVE_AT_THE_BOUND)
        return self._leaving()

    def finish(self) -> list[bytes]:
        """End all texts: nothing that comes belongs to them any more."""
        self._decide("")
        self._channels.clear()
        self._unread.clear()
        self._count = 0
        return self._leaving()

    def _extend(self, event: Event, delta: Delta) -> None:
        channel = self._channels.get(delta.channel)
        if channel is None:
            if len(self._channels) >= MAX_CHANNELS:
                self._forget()
            channel = self._channels[delta.channel] = _Channel()
        text = delta.text.encode("utf-8", "surrogatepass")
        whole = channel.text + text if channel.text else text
        hits, live = self._scanner.scan(whole, self._outside(delta.channel, channel), False)
        if not channel.pieces and not hits and live == len(whole) and not channel.covered:
            channel.before = context(channel.before, whole)
            return
        channel.pieces.append(_Piece(event, delta.path, text))
        event.waits += 1
        channel.text = whole
        self._settle(channel, hits, live)

    def _settle(self, channel: _Channel, hits: Sequence[Hit], live: int) -> None:
        """Let go of the pieces that end before the text turns live, rewritten where hits touch them."""
        done = 0
        while channel.pieces and done + len(channel.pieces[0].text) <= live:
            piece = channel.pieces.popleft()
            start, done = done, done + len(piece.text)
            edit = rewrite(piece.text, _shifted(hits, start), len(piece.text), channel.covered)
            tally(self.counts, edit.kinds)
            if edit.kinds or channel.covered:
                piece.event.changed[piece.path] = edit.clean.decode("utf-8", "surrogatepass")
            channel.covered = edit.covered
            channel.before = context(channel.before, piece.text)
            piece.event.waits -= 1
        channel.text = channel.text[done:]

    def _decide(self, otherwise: str) -> None:
        for channel in self._channels.values():
            if not channel.pieces:
                continue
            size = len(channel.text)
            hits, live = self._scanner.scan(channel.text, channel.before, False)
            if otherwise and live < size:
                hits = [*(hit for hit in hits if hit.start < live), Hit(live, size, otherwise)]
            else:
                hits, _ = self._scanner.scan(channel.text, channel.before, True)
            self._settle(channel, hits, size)

    def _forget(self) -> None:
        """Drop the texts in which nothing is live: they start anew; decide all when that frees nothing."""
        idle = [name for name, channel in self._channels.items() if not channel.pieces]
        if not idle:
            self._decide(LIVE_AT_THE_BOUND)
            idle = list(self._channels)
        for name in idle:
            del self._channels[name]

    def _leaving(self) -> list[bytes]:
        leaving: list[bytes] = []
        while self._queue and not self._queue[0].waits:
            event = self._queue.popleft()
            self._bytes -= len(event.raw)
            leaving.append(event.leave())
        return leaving


def _shifted(hits: Sequence[Hit], start: int) -> list[Hit]:
    """Return the hits that begin at or after `start`, counted from there; `covered` carries the others."""
    return [Hit(hit.start - start, hit.end - start, hit.kind) for hit in hits if hit.start >= start]
