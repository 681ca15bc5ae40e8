"""What the guards ask of a store; memory and Redis answer alike."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.limit import Ask, Takes
from sidecar.session import Session


class RateStore(Protocol):
    """Exact sliding windows: no window of that length ever holds more than its limit."""

    def take(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Consume one request of every ask, or none: all limits of a request in one round trip.

        `now` is in seconds and never runs backwards (shared stores use their own clock instead).
        The answers stand in the order of the asks. A store in this process answers at once (a tuple);
        one across the network returns an awaitable. Refused requests are not counted.
        """
        ...

    def peek(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Answer like `take`, consuming nothing."""
        ...

    async def reset(self, per: str, subject: str) -> int:
        """Forget every window of one subject (`ip`, `203.0.113.9`); return how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Ban:
    """An address that sits out. `until` is epoch seconds."""

    subject: str
    until: float
    reason: str
    strikes: int = 0


class BanStore(Protocol):
    """Who sits out, known locally so that a banned client costs almost nothing."""

    def banned(self, subject: str, now: float) -> float:
        """Return until when (epoch seconds) the subject is banned, 0.0 if it is not. Local, no I/O."""
        ...

    def strike(self, subject: str, weight: int, now: float) -> Ban | None:
        """Count a refusal; return the ban when this strike made one. Spreads in the background."""
        ...

    async def ban(self, subject: str, until: float, reason: str) -> None: ...

    async def lift(self, subject: str) -> bool: ...

    async def list(self, now: float) -> Sequence[Ban]: ...


class SessionStore(Protocol):
    """Sessions by the hash of their id, and the conversations that belong to them."""

    async def create(self, session: Session, ttl: float) -> None: ...

    async def get(self, key: str) -> Session | None: ...

    async def touch(self, key: str, seen: float, ttl: float) -> None: ...

    async def delete(self, key: str) -> bool: ...
