"""The shapes that features take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sidecar.decision import Decision, Inspection
from sidecar.exchange import Exchange


class Guard(Protocol):
    """Ask about the head. It answers at once, or returns what has to be waited for, each wait with a bound."""

    @property
    def name(self) -> str: ...

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]: ...


class BodyGuard(Protocol):
    """Ask about a complete, bounded body; it answers at once, or returns what has to be waited for."""

    @property
    def name(self) -> str: ...

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection | Awaitable[Inspection]: ...


class ResponseFilter(Protocol):
    """Rewrite an answer's body as it passes. One instance per answer; bounded look-behind."""

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class HeaderWriter(Protocol):
    r"""Header lines that every response carries, refusals included.

    `owns` are the lower-case names that the backend's response loses because this writer sets
    them; `lines` returns complete lines (`Name: value\r\n`), or nothing.
    """

    @property
    def owns(self) -> frozenset[bytes]: ...

    def lines(self, exchange: Exchange) -> bytes: ...


Enforced: TypeAlias = Callable[[str], bool]
"""Guard name → whether that guard refuses on the route at hand; False: it only observes."""


@dataclass(frozen=True, slots=True)
class Step:
    """A head guard in the policy's order. `enforce=False` observes: it records and lets pass."""

    guard: Guard
    enforce: bool = True
    waits: bool = False  # the guard may return an awaitable
    ask: Callable[[Exchange], Decision | Awaitable[Decision]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ask", self.guard.check)  # bound once: it is called for every request


@dataclass(frozen=True, slots=True)
class BodyStep:
    """A body guard in the policy's order."""

    guard: BodyGuard
    enforce: bool = True
    waits: bool = False  # the guard may return an awaitable
    ask: Callable[[Exchange, bytes], Inspection | Awaitable[Inspection]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ask", self.guard.inspect)
