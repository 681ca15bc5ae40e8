"""Lines out of the process: a bounded queue and a thread, so that a blocked pipe blocks nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from sidecar.telemetry.target import Target

LINGER: Final = 0.05  # seconds that the first line of a batch waits for company
RETRY: Final = 0.5  # seconds before a target that failed is tried again
BATCH: Final = 512  # lines a write
RESERVE: Final = 4  # of the queue, one part in so many is kept for lines that matter most


class LineWriter:
    """Write lines to one target, in order, at most `LINGER` late.

    When nobody takes them, `most_lines` wait and newer ones are dropped and counted; routine lines
    are dropped first. `lost(count)` makes the line that says so once lines flow again.
    """

    def __init__(self, target: Target, lost: Callable[[int], bytes], *, most_lines: int = 16_384) -> None:
        self._target = target
        self._lost = lost
        self._most = most_lines
        self._most_routine = most_lines - most_lines // RESERVE
        self._lines: deque[bytes] = deque()  # append and popleft are atomic; no lock on the hot path
        self._dropped = 0  # written by put()
        self._failed = 0  # written by the thread
        self._told = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._written = threading.Condition()
        self._busy = False  # lines are out of the queue, and not yet out of the process
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many lines were lost since the start."""
        return self._dropped + self._failed

    def put(self, line: bytes, routine: bool = False) -> None:
        """Queue one complete line. Never blocks, never raises."""
        lines = self._lines
        if len(lines) >= (self._most_routine if routine else self._most):
            self._dropped += 1
            return
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
        self._thread.join(timeout)
        if self._thread.is_alive():
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
        while lines:
            self._put_out([lines.popleft() for _ in range(min(BATCH, len(lines)))])
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
