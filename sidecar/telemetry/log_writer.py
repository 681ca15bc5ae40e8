"""Writes log lines from a bounded queue in a thread, so that a blocked pipe does not block requests."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.errors import ConfigError

LINGER: Final = 0.05  # seconds that the first line of a batch waits for more
RETRY: Final = 0.5  # seconds before a target that failed is tried again
BATCH: Final = 512  # lines a write
RESERVE: Final = 4  # of the queue, one part in so many is kept for lines that matter most
MOST_BYTES: Final = 8 << 20  # of lines that wait
_NEWLINE: Final = 0x0A
MODE: Final = 0o640  # a log is for its owner and the group that collects it


class LogFile:
    """A target of bytes whose writes may block. Used by one thread."""

    def __init__(self, descriptor: int, path: Path | None = None) -> None:
        self._descriptor = descriptor
        self._path = path
        self._torn = False  # the last line ends in its middle
        self.stale = False  # another thread wants the file opened anew

    @classmethod
    def file(cls, path: Path) -> LogFile:
        """Open a file to append to; ConfigError when that fails."""
        try:
            return cls(_open(path), path)
        except OSError as error:
            raise ConfigError(f"cannot write the log file {path}: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        """Write whole lines. OSError when the system refuses; the next write begins a line of its own."""
        if self._path is not None:
            self._follow(self._path)
        data = b"\n" + data if self._torn else data
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except BlockingIOError:
                # Another process made the shared standard output non-blocking; this thread may wait.
                select.select([], [self._descriptor], [])
                continue
            view = view[written:]
            self._torn = data[-len(view) - 1] != _NEWLINE

    def close(self) -> None:
        """Close the file; a descriptor that was given stays open."""
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _follow(self, path: Path) -> None:
        """Open the file anew when it was rotated, or on request."""
        if self._descriptor >= 0 and not self.stale and _same_file(self._descriptor, path):
            return
        self.stale = False
        fresh = _open(path)
        self.close()
        self._descriptor = fresh
        self._torn = False


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)


class LogWriter:
    """Write lines to one target, in order, at most `LINGER` late.

    When the target accepts none, `most_lines` of `most_bytes` in all wait, and newer ones are dropped and
    counted; routine lines are dropped first. `lost(count)` makes the line that reports it once the target
    accepts lines again.
    """

    def __init__(
        self, target: LogFile, lost: Callable[[int], bytes], *, most_lines: int = 16_384, most_bytes: int = MOST_BYTES
    ) -> None:
        self._target = target
        self._lost = lost
        self._most = most_lines
        self._most_routine = most_lines - most_lines // RESERVE
        self._most_bytes = most_bytes
        self._most_routine_bytes = most_bytes - most_bytes // RESERVE
        self._put = 0  # bytes, written by put()
        self._taken = 0  # bytes, written by the thread
        self._lines: deque[bytes] = deque()  # append and popleft are atomic; no lock on the hot path
        self._dropped = 0  # written by put()
        self._failed = 0  # written by the thread
        self._told = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._written = threading.Condition()
        self._busy = False  # lines are out of the queue, and not yet out of the process
        self._worker = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._worker.start()

    @property
    def dropped(self) -> int:
        """How many lines were lost since the start."""
        return self._dropped + self._failed

    def put(self, line: bytes, routine: bool = False) -> None:
        """Queue one complete line. Never blocks, never raises."""
        lines = self._lines
        waiting = self._put - self._taken
        if len(lines) >= (self._most_routine if routine else self._most) or waiting + len(line) > (
            self._most_routine_bytes if routine else self._most_bytes
        ):
            self._dropped += 1
            return
        self._put += len(line)
        lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def reopen(self) -> None:
        """Open the file anew before the next line (after its rotation)."""
        self._target.stale = True

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until what was queued before is written; False when that took too long."""
        deadline = time.monotonic() + timeout
        self._wake.set()
        with self._written:
            return self._written.wait_for(lambda: not self._lines and not self._busy, deadline - time.monotonic())

    def close(self, timeout: float = 2.0) -> bool:
        """Write what is queued and stop; False when the target took too long: the rest is lost."""
        self._closing.set()
        self._wake.set()
        self._worker.join(timeout)
        if self._worker.is_alive():
            return False
        self._target.close()
        return True

    def _run(self) -> None:
        while not (self._closing.is_set() and not self._lines and self.dropped == self._told):
            self._wake.wait()
            self._closing.wait(LINGER)
            # Cleared before the queue is emptied: a line that comes in between sets it again.
            self._wake.clear()
            self._drain()
            with self._written:
                self._written.notify_all()
            if self._closing.is_set():
                self._wake.set()

    def _drain(self) -> None:
        lines = self._lines
        self._busy = True
        left = len(lines)
        # What comes meanwhile waits for the next round, because each write takes the interpreter twice; not where
        # lines were lost, which is told when no line waits any more.
        while lines and (left > 0 or self.dropped != self._told):
            batch = [lines.popleft() for _ in range(min(BATCH, len(lines)))]
            left -= len(batch)
            self._put_out(batch)
            # Only now: what is being written is in memory still.
            self._taken += sum(map(len, batch))
        lost = self.dropped - self._told
        if lost and self._put_out([self._lost(lost)]):
            self._told += lost
        self._busy = False

    def _put_out(self, batch: list[bytes]) -> bool:
        try:
            self._target.write(b"".join(batch))
        except OSError:
            # A full disk, a reader that left. Try again later with newer lines: old ones are worth less.
            self._failed += len(batch)
            self._closing.wait(RETRY)
            if self._closing.is_set():
                self._lines.clear()
                self._told = self.dropped
            return False
        return True
