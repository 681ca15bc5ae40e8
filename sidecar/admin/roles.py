"""Who may do what: three roles, each able to do what the one below can, within one organization or all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

EVERY: Final = "*"


class Role(IntEnum):
    """What a token lets its holder do; each role includes those before it."""

    NONE = 0  # the caller is not authenticated
    VIEWER = 1  # reads
    OPERATOR = 2  # also resets limits and bans
    ADMIN = 3  # also credentials, handles, erasure

    @property
    def word(self) -> str:
        """The role as tokens and the API spell it, in lower case."""
        return self.name.lower()


ROLES: Final = {role.word: role for role in Role if role is not Role.NONE}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows. `organization` None is every organization; `expires` is epoch seconds."""

    actor: str
    role: Role
    organization: str | None
    expires: float

    def covers(self, organization: str) -> bool:
        """Return whether what belongs to this organization may be seen or changed."""
        return self.organization is None or self.organization == organization


UNAUTHENTICATED: Final = Grant("unauthenticated", Role.NONE, "", 0.0)
