"""The memory of this process, which holds plain keys: kept private, and given back once a policy has compiled."""

from __future__ import annotations

import ctypes
import logging
import resource
import sys
from typing import Final

PR_SET_DUMPABLE: Final = 4  # linux/prctl.h

_LOG: Final = logging.getLogger(__name__)


def keep_memory_private() -> None:
    """Write no core dump, and let no other process of the same user read this one's memory or environment."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _LOG.warning("prctl(PR_SET_DUMPABLE, 0) failed: other processes of this user may read the keys in memory")


def give_back_memory() -> None:
    """Return to the system what was freed since the start: compiling a policy leaves some MiB of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it; musl gives back by itself
    if trim is not None:
        trim(0)
