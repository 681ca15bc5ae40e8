"""What a guard of your own is made of: the only module that it imports from here (docs/extending.md).

An entry point of the group `sidecar.guards` names a class like this:

    class Quiet:
        description = "refuses messages in capitals"
        stage = "message"
        Settings = QuietSettings                      # a Section: its keys in the policy

        def __init__(self, settings): ...
        def check(self, request): return Block("shouting") if ... else None
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.quantities import size, span, whole

__all__ = ["Block", "Guard", "Many", "Request", "Section", "Stage", "Verdict", "size", "span", "whole"]

Stage: TypeAlias = Literal["head", "message"]
"""head: asked about every request, before its body is there; message: about the texts of routes with a message."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a guard may know of a request.

    target   path and query, as sent
    headers  lower-case name → value; of a repeated name, the values joined with `, `
    session  SHA-256 of the session's id in hex; "" when there is none
    texts    of the message, in order, as they were sanitized; empty for stage `head`
    """

    id: str
    method: str
    path: str
    target: str
    headers: Mapping[str, str]
    client_ip: str
    organization: str
    user: str
    session: str
    route: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Refuse the request.

    reason  for the log and `sidecar why`: a few words of yours, never text of the message
    code    what the client gets: 403 CONTENT_BLOCKED, 403 FORBIDDEN or 401 AUTH_FAILED
    detail  further facts for the log: names, counts and sizes
    """

    reason: str
    code: Literal["CONTENT_BLOCKED", "FORBIDDEN", "AUTH_FAILED"] = "CONTENT_BLOCKED"
    detail: Mapping[str, str | int | float | bool] | None = None


Verdict: TypeAlias = Block | None
"""None: the request goes on."""


class Guard(Protocol):
    """The class that an entry point names. One instance for each policy that is compiled."""

    description: ClassVar[str]
    stage: ClassVar[Stage]
    Settings: ClassVar[type[Section]]

    def __init__(self, settings: Any) -> None:
        """Take the settings of the policy, an instance of `Settings`. ValueError: they do not fit together."""

    def check(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """Return at once, from memory; or an awaitable, for what has to be waited for. Never block."""
