"""A session, as other parts see it: never the id itself, only its hash."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

SEAL_LABEL: Final = b"chat-sidecar session seal v1"


@dataclass(frozen=True)
class Session:
    """One browser's conversation.

    key           SHA-256 of the id, hex (64 characters): the name of the session everywhere
    organization  the organization it was made for
    created, seen seconds since the epoch
    network       the client's network when it was made (`203.0.113.0/24`), for binding
    client        what counts as one client (an address, or its prefix), for bounds and erasure
    expires       seconds since the epoch when it ends however busy it is; 0: only idleness ends it
    """

    key: str
    organization: str
    created: float
    seen: float
    network: str
    client: str = ""
    expires: float = 0.0

    @property
    def short(self) -> str:
        """The first eight characters of the hash: what is in a log line."""
        return self.key[:8]


def key_of(session_id: str) -> str:
    """Return the hash under which a session is stored; the id cannot be computed from it."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def seal_of(session_id: str) -> bytes:
    """Return the key (32 bytes) that encrypts the session's data; it is derived from the id alone."""
    return hmac.digest(session_id.encode(), SEAL_LABEL, "sha256")
