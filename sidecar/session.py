"""A session, as other parts see it: never the id itself, only its hash."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's conversation.

    key           SHA-256 of the id, hex (64 characters): the name of the session everywhere
    organization  the organization it was made for
    created, seen seconds since the epoch
    network       the client's network when it was made (`203.0.113.0/24`), for binding
    """

    key: str
    organization: str
    created: float
    seen: float
    network: str

    @property
    def short(self) -> str:
        """The first eight characters of the hash: what stands in a log line."""
        return self.key[:8]
