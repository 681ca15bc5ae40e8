"""Request ids: unique over replicas and restarts, and cheap."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count


def request_ids(random_bytes: Callable[[int], bytes]) -> Callable[[], str]:
    """Return a source of ids: 80 random bits that name this process, then a counter.

    They are names, not secrets: knowing one must not, and does not, open anything.
    """
    prefix = random_bytes(10).hex()
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers):08x}"
