"""Where lines end: a descriptor that others own, or a file that may be rotated."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final

from sidecar.errors import ConfigError

MODE: Final = 0o640  # a log is for its owner and the group that collects it


class Target:
    """Something that takes bytes, as long as that takes. Used by one thread."""

    def __init__(self, descriptor: int, path: Path | None = None) -> None:
        self._descriptor = descriptor
        self._path = path
        self._torn = False  # the last line ends in its middle
        self.stale = False  # another thread wants the file opened anew

    @classmethod
    def file(cls, path: Path) -> Target:
        """Open a file to append to; ConfigError when that fails."""
        try:
            return cls(_open(path), path)
        except OSError as error:
            raise ConfigError(f"cannot write the log file {path}: {error.strerror}") from None

    def write(self, data: bytes) -> None:
        """Write whole lines. OSError when the system refuses; the next write begins a line of its own."""
        if self._path is not None:
            self._follow(self._path)
        view = memoryview(b"\n" + data if self._torn else data)
        self._torn = False
        while view:
            try:
                written = os.write(self._descriptor, view)
            except BlockingIOError:
                # Whoever shares our standard output made it non-blocking; this thread may wait.
                select.select([], [self._descriptor], [])
                continue
            except OSError:
                self._torn = len(view) < len(data)
                raise
            view = view[written:]

    def close(self) -> None:
        """Close the file; a descriptor that was given stays open."""
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _follow(self, path: Path) -> None:
        """Open the file anew when it was rotated away, or when somebody asked for it."""
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
