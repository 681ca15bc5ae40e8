"""What was revoked: the subjects that a running response can depend on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SubjectKind(StrEnum):
    """What can be revoked."""

    HANDLE = "handle"
    CREDENTIAL = "credential"
    SESSION = "session"
    ORGANIZATION = "organization"
    IP = "ip"


class Cause(StrEnum):
    """How it was revoked."""

    REVOKED = "revoked"
    DELETED = "deleted"
    ENDED = "ended"
    ERASED = "erased"
    BANNED = "banned"


@dataclass(frozen=True, slots=True)
class Revoked:
    """One subject that may use the service no longer.

    name          the id of a handle or credential, the key of a session, an organization, the subject of a client
    organization  the organization of a session; empty: any
    """

    kind: SubjectKind
    name: str
    cause: Cause
    organization: str = ""

    @property
    def shown(self) -> str:
        """Return the name as events show it: of a session the first eight characters of its key."""
        return self.name[:8] if self.kind is SubjectKind.SESSION else self.name
