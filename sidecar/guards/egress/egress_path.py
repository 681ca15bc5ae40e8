"""Which paths of a provider may be called; compared as written, because the provider's reading is unknown."""

from __future__ import annotations

import re
from typing import Final

from sidecar.decision import PASS, Decision, Refuse
from sidecar.exchange import Exchange
from sidecar.vocabulary import Code

_UNCLEAR: Final = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\\;]|%(?:2[5ef]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
"""Empty and dot segments, parameters, and escapes of what would be one of them once decoded."""


class EgressPathGuard:
    """Refuse a path that is not allowed. `allowed` matches whole paths, case-sensitive; None allows none.

    The routing table folds the path to find its route; the provider receives it as it was sent.
    """

    name = "path"

    def __init__(self, provider: str, allowed: str | None) -> None:
        self._allowed = re.compile(allowed, re.DOTALL) if allowed is not None else None
        self._refusal = Refuse(Code.FORBIDDEN, {"reason": "path", "provider": provider})

    def check(self, exchange: Exchange) -> Decision:
        """Refuse the path with 403 unless a pattern matches all of it and it has one reading only."""
        path = exchange.head.path
        if self._allowed is None or self._allowed.fullmatch(path) is None or _UNCLEAR.search(path) is not None:
            return self._refusal
        return PASS
