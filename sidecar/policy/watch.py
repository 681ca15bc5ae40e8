"""Notice that the policy's text has changed: also when a ConfigMap's link is swapped, or no event comes.

The directory is watched, not the file: Kubernetes swaps the link `..data` beside it, and editors
put a new file in the place of the old one. What counts is the digest of the text, so that events
may come too often; and every half minute it is read without any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from watchfiles import awatch

from sidecar.errors import ConfigError
from sidecar.policy.document.read import read_text, text_digest

POLL: Final = 30.0  # seconds
TICK: Final = 1.0  # seconds after the watch was set up until the file is read once more
SETTLE: Final = 0.1  # seconds between two equal readings: a file that is being written is not read
TRIES: Final = 20
DEBOUNCE: Final = 100  # milliseconds
UNREADABLE: Final = ""


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
        poll: float = POLL,
        settle: float = SETTLE,
    ) -> None:
        self._path = path
        self._changed = changed
        self._seen = seen
        self._poll = poll
        self._settle = settle

    async def run(self) -> None:
        """Watch until cancelled."""
        hints = self._hints()
        while True:
            hint = asyncio.ensure_future(anext(hints))
            try:
                # Set up the watch before reading: a change made before the watch existed causes no event.
                await asyncio.sleep(0)
                await self.look()
                await hint
            finally:
                hint.cancel()

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

    async def _hints(self) -> AsyncIterator[None]:
        """Yield when something in the directory changed, and at least every `poll` seconds."""
        while True:
            quiet, tick = self._poll, min(self._poll, TICK)
            try:
                async for changes in awatch(
                    *_directories(self._path),
                    watch_filter=None,
                    debounce=DEBOUNCE,
                    step=DEBOUNCE // 2,
                    rust_timeout=int(tick * 1000),
                    yield_on_timeout=True,
                    recursive=False,
                    ignore_permission_denied=True,
                ):
                    # The first tick always counts: what changed while the watch was set up made no event either.
                    quiet += tick
                    if changes or quiet >= self._poll:
                        quiet = 0.0
                        yield
            except (OSError, RuntimeError):
                # No inotify watches left, or the directory is gone for now: the poll remains.
                pass
            await asyncio.sleep(self._poll)
            yield


def _directories(path: Path) -> list[Path]:
    """Return where a change of this file would show: beside it, and beside what it is a link to."""
    places = [path.absolute().parent]
    hop = path.absolute()
    for _ in range(8):  # links to links; a loop of them ends here
        if not hop.is_symlink():
            break
        hop = hop.parent / hop.readlink()
        # Inside a ConfigMap's volume the link leads through `..data`, whose swap shows above.
        if places[0] not in hop.parents and hop.parent.is_dir():
            places.append(hop.parent)
    return places


def _read(path: Path) -> bytes | ConfigError:
    try:
        return read_text(path)
    except ConfigError as error:
        return error
