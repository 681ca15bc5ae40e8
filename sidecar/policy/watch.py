"""Notice that the policy's text has changed: also when a ConfigMap's link is swapped, or the clock stood still.

The file's state is looked at twice a second, through all links: Kubernetes swaps the link `..data` beside
it, and editors put a new file in the place of the old one. That costs a few microseconds, works on every
file system, and needs no watch of the kernel. What counts is the digest of the text, so that a look too
many does no harm; and every half minute the text is read whatever its state says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

from sidecar.errors import ConfigError
from sidecar.policy.document.read import read_text, text_digest

LOOK: Final = 0.5  # seconds
POLL: Final = 30.0  # seconds
SETTLE: Final = 0.1  # seconds between two equal readings: a file that is being written is not read
TRIES: Final = 20
COARSE: Final = 2.0
"""Seconds for which a time of change tells nothing of a second change: some file systems count in whole seconds."""
UNREADABLE: Final = ""

State: TypeAlias = tuple[int, int, int, int]


class PolicyWatch:
    """Call `changed()` whenever the policy's text differs from the last one that was seen.

    `seen` is the digest of the text in force (`PolicyDocument.text_digest`). A file that cannot be read
    any more is a change too, reported once: the next read fails with the reason.
    """

    def __init__(
        self,
        path: Path,
        changed: Callable[[], Awaitable[object]],
        *,
        seen: str,
        look: float = LOOK,
        poll: float = POLL,
        settle: float = SETTLE,
    ) -> None:
        self._path = path
        self._changed = changed
        self._seen = seen
        self._look = look
        self._poll = poll
        self._settle = settle

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            # The state before the text: what changes in between shows at the next look.
            state, read_at = _state(self._path), time.monotonic()
            await self.look()
            await asyncio.sleep(self._look)
            while not self._is_due(state, read_at):  # noqa: ASYNC110  # nothing signals it: that is the point
                await asyncio.sleep(self._look)

    def _is_due(self, state: State | None, read_at: float) -> bool:
        """Return whether the text has to be read again."""
        now = _state(self._path)
        changed_just_now = now is not None and abs(time.time() - now[0] / 1e9) < COARSE
        return now != state or changed_just_now or time.monotonic() - read_at >= self._poll

    async def look(self) -> None:
        """Read the file, off the loop; tell when it is another one."""
        read = await self._settled()
        digest = text_digest(read) if isinstance(read, bytes) else UNREADABLE
        if digest != self._seen:
            self._seen = digest
            await self._changed()

    async def _settled(self) -> bytes | ConfigError:
        """Return the text once two readings in a row agree. A file that never rests is taken as it is."""
        last = await asyncio.to_thread(_read, self._path)
        if isinstance(last, bytes) and text_digest(last) == self._seen:
            return last
        for _ in range(TRIES):
            await asyncio.sleep(self._settle)
            again = await asyncio.to_thread(_read, self._path)
            if isinstance(again, bytes) and again == last:
                break
            last = again
        return last


def _state(path: Path) -> State | None:
    """Return what changes with a file, or with the one that its links lead to; None when it cannot be reached.

    In the caller's thread: the answer is in the kernel's memory.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


def _read(path: Path) -> bytes | ConfigError:
    try:
        return read_text(path)
    except ConfigError as error:
        return error
