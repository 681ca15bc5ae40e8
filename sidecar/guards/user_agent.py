"""Refuses programs by what they call themselves in User-Agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.decision import PASS, Decision, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.vocabulary import Code

SHORTEST: Final = 3
"""Characters of an entry: a shorter one is part of nearly every browser's name."""

DENIED: Final = Refuse(Code.FORBIDDEN, {"reason": "user agent"})


def build_user_agent(denied: Sequence[str], problems: Problems) -> UserAgentGuard | None:
    """Build the guard, or None when no program is denied; `problems` is at `requests.denied_user_agents`."""
    for number, text in enumerate(denied):
        if len(text) < SHORTEST or not text.isascii():
            problems.at(f"[{number}]").add(
                f"{text!r} cannot tell a program from a browser", "write three or more ASCII characters, like GPTBot"
            )
    return UserAgentGuard(denied) if denied else None


class UserAgentGuard:
    """Refuse a User-Agent that holds one of the entries, in any case; a request without the header passes.

    The header is the client's own claim: this keeps out crawlers that name themselves and
    scanners in their default settings, and nothing else.
    """

    name = "user_agent"

    def __init__(self, denied: Sequence[str]) -> None:
        self._denied = tuple(text.lower().encode() for text in denied)

    def check(self, exchange: Exchange) -> Decision:
        """Refuse with 403 when a denied entry is part of the header."""
        agent = exchange.head.index.get(b"user-agent", b"").lower()
        for denied in self._denied:
            if denied in agent:
                return DENIED
        return PASS

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`)."""
        return self.check(exchange) is PASS
