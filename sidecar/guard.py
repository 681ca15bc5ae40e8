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
    def name(self) -> str:
        """The guard's name in the policy's `observe` lists, in events and in `sidecar explain`."""
        ...

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Return the decision about one request's head, or an awaitable of it."""
        ...


class SettledGuard(Guard, Protocol):
    """A guard that goes by the head, the peer and the policy alone: not by time, by a store, or by what came before.

    One that looks at the peer or at a varying field of the head (`Policy.varying`) has an attribute `varying` that is
    true: it is asked for each request all the same.
    """

    def settled(self, exchange: Exchange) -> bool:
        """Do what `check` does; return whether it would pass every request with this head from this peer, and
        leave the same on each: then it is not asked again.
        """
        ...


class BodyGuard(Protocol):
    """Ask about a complete, bounded body; it answers at once, or returns what has to be waited for."""

    @property
    def name(self) -> str:
        """The guard's name in the policy's `observe` lists, in events and in `sidecar explain`."""
        ...

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection | Awaitable[Inspection]:
        """Return the decision about one request's whole body, or an awaitable of it. `body` is empty when none came."""
        ...


class ResponseFilter(Protocol):
    """Rewrite an answer's body as it passes. One instance per answer; bounded look-behind."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the body; return what may be sent now, b"" when all of it is held."""
        ...

    def finish(self) -> bytes:
        """Take the end of the body; return what was held. Called once, after the last `feed`."""
        ...


class HeaderWriter(Protocol):
    r"""Header lines that every response carries, refusals included.

    `owns` are the lower-case names that the backend's response loses because this writer sets
    them; `lines` returns complete lines (`Name: value\r\n`), or nothing. A writer whose lines depend on the
    request's head and the policy alone has an attribute `by_head` that is true.
    """

    @property
    def owns(self) -> frozenset[bytes]:
        """Lower-case header names that are dropped from the backend's response."""
        ...

    def lines(self, exchange: Exchange) -> bytes:
        """Return the complete lines for the response to this request, each ending in CR LF; b"" for none."""
        ...


Enforced: TypeAlias = Callable[[str], bool]
"""Guard name → whether that guard refuses on the route at hand; False: it only observes."""


@dataclass(frozen=True, slots=True)
class Step:
    """A head guard in the policy's order. `enforce=False` observes: it records and lets pass."""

    guard: Guard
    enforce: bool = True
    ask: Callable[[Exchange], Decision | Awaitable[Decision]] = field(init=False, repr=False, compare=False)
    settled: Callable[[Exchange], bool] | None = field(init=False, repr=False, compare=False)  # of a SettledGuard
    varying: bool = field(init=False, repr=False, compare=False)  # of a SettledGuard

    def __post_init__(self) -> None:
        object.__setattr__(self, "ask", self.guard.check)  # bound once: it is called for every request
        object.__setattr__(self, "settled", getattr(self.guard, "settled", None))
        object.__setattr__(self, "varying", getattr(self.guard, "varying", False))


@dataclass(frozen=True, slots=True)
class BodyStep:
    """A body guard in the policy's order."""

    guard: BodyGuard
    enforce: bool = True
    ask: Callable[[Exchange, bytes], Inspection | Awaitable[Inspection]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ask", self.guard.inspect)
