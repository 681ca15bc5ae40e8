"""A rate limit, a question about it, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Per(StrEnum):
    """What a window counts."""

    IP = "ip"
    ORGANIZATION = "organization"
    SESSION = "session"
    USER = "user"
    ROUTE = "route"
    GLOBAL = "global"


class Counts(StrEnum):
    """Which requests a limit counts.

    chat  what costs: requests of routes with a message, a credential or a required session, every
          method but GET, HEAD and OPTIONS, and WebSocket messages that carry a text
    all   every request, page loads included
    """

    CHAT = "chat"
    ALL = "all"


@dataclass(frozen=True)
class Limit:
    """At most `limit` admitted requests in any `window` seconds.

    named_only  an organization's limit that requests of the default organization are not held to
    """

    name: str
    per: Per
    limit: int
    window: float
    counts: Counts = Counts.CHAT
    named_only: bool = False


@dataclass(init=False)  # a generated constructor is not compiled; nothing writes to it
class Ask:
    """May one more request of this subject pass? `subject` is an address, an organization, a hash.

    counted  False: the limit is only looked at; it neither counts nor refuses this request
    """

    limit: Limit
    subject: str
    counted: bool

    def __init__(self, limit: Limit, subject: str, counted: bool = True) -> None:
        self.limit = limit
        self.subject = subject
        self.counted = counted


class Take(NamedTuple):
    """The result of one Ask; a tuple, because a request makes three or more.

    allowed      this limit had room (the request passes only when all of its limits had)
    remaining    how many more would pass now
    retry_after  seconds until one more may pass; 0 while `remaining` > 0
    reset_after  seconds until, with no further request, the window is empty again
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float


class LimitReport(NamedTuple):
    """All limits of a request with their answers, in the policy's order; `at` is epoch seconds.

    counted  the request was counted (or refused); False: the limits were only looked at
    lines    the response's header lines that say so
    """

    asks: tuple[Ask, ...]
    takes: tuple[Take, ...]
    at: float
    counted: bool = True
    lines: bytes = b""


Takes: TypeAlias = tuple[Take, ...]
