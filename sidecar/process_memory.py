"""The memory of this process, which holds plain keys: kept private, and given back once a policy has compiled."""

from __future__ import annotations

import ctypes
import logging
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
MADV_DONTNEED: Final = 4  # asm-generic/mman-common.h

_LOG: Final = logging.getLogger(__name__)


def keep_memory_private() -> None:
    """Write no core dump, and let no other process of the same user read this one's memory or environment."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _LOG.warning("prctl(PR_SET_DUMPABLE, 0) failed: other processes of this user may read the keys in memory")


def give_back_memory() -> None:
    """Return to the system what only the start needed: some MiB that were freed, and twice as many of code that ran.

    A page of a library's code that runs again is mapped again from the page cache: some 250 of them, within the first
    requests, for about a microsecond each.
    """
    libc = ctypes.CDLL(None)
    trim = getattr(libc, "malloc_trim", None)  # glibc has it; musl gives back by itself
    if trim is not None:
        trim(0)
    if sys.platform == "linux":
        for start, size in _code():
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), MADV_DONTNEED)


def _code() -> list[tuple[int, int]]:
    """Return address and size of each mapping of a file's code: executable, private, never written (proc(5))."""
    lines: list[str] = []
    with suppress(OSError):  # no /proc: the code stays mapped
        lines = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
    found = []
    for line in lines:
        bounds, permissions, _, _, inode, *_ = line.split(maxsplit=5)
        if permissions == "r-xp" and inode != "0":
            start, end = (int(each, 16) for each in bounds.split("-"))
            found.append((start, end - start))
    return found
