"""What the guards ask of a store; memory and Redis answer alike."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from sidecar.budget import Budget, Claim, Helds, Standing
from sidecar.limit import Ask, Takes
from sidecar.session import Session


class RateStore(Protocol):
    """Exact sliding windows: no window of that length ever contains more than its limit."""

    def take(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Consume one request of every counted ask, or none: all limits of a request in one round trip.

        `now` is in seconds and never runs backwards (shared stores use their own clock instead).
        The answers are in the order of the asks. A store in this process answers at once (a tuple);
        one across the network returns an awaitable. Refused requests are not counted. No two asks of a
        request are the same limit and subject.
        """
        ...

    def peek(self, asks: Sequence[Ask], now: float) -> Takes | Awaitable[Takes]:
        """Answer like `take`, consuming nothing."""
        ...

    async def reset(self, per: str, subject: str) -> int:
        """Forget every window of one subject (`ip`, `203.0.113.9`); return how many there were."""
        ...


class BudgetStore(Protocol):
    """Budgets over sliding windows: what was used and what running requests hold never exceed one."""

    def claim(self, claims: Sequence[Claim], holder: str, ttl: float, now: float) -> Helds | Awaitable[Helds]:
        """Count what a request (`holder`) has used since its last claim, and keep what it asks for.

        All of its bound claims are met, or no hold grows. A hold that is not renewed within `ttl` seconds is
        given back: its replica has died. `now` is monotonic seconds (shared stores use their own clock). A store in
        this process answers at once (a tuple); one across the network returns an awaitable. No two claims
        of a request are the same budget and subject.
        """
        ...

    async def look(self, budgets: Sequence[Budget], subject: str, now: float) -> Sequence[Standing]:
        """Return how each budget stands for one subject, changing nothing. `now` as for `claim`."""
        ...

    async def forget(self, budgets: Sequence[Budget], subject: str) -> int:
        """Forget what one subject has used of these budgets; return of how many there was something."""
        ...


@dataclass(frozen=True, slots=True)
class Ban:
    """A banned address. `until` is epoch seconds.

    kinds     for which codes of refusals it got its strikes, and how often each, as far as one replica saw them
    requests  ids of the last requests that were strikes, the newest last
    """

    subject: str
    until: float
    reason: str
    strikes: int = 0
    kinds: tuple[tuple[str, int], ...] = ()
    requests: tuple[str, ...] = ()


class BanStore(Protocol):
    """Bans, known locally, so that a request of a banned client costs almost nothing."""

    def banned(self, subject: str, now: float) -> float:
        """Return until when (epoch seconds) the subject is banned, 0.0 if it is not. Local, no I/O."""
        ...

    def strike(self, subject: str, weight: int, now: float, kind: str = "", request: str = "") -> Ban | None:
        """Count a refusal; return the ban when this strike made one. Spreads in the background.

        `kind` is the code of the refusal, `request` the id of the request: what operators see of the ban.
        """
        ...

    def rule(self, strikes: int, within: float, duration: float) -> None:
        """Take over a reloaded policy's rule: bans in force keep their end, strikes count on."""
        ...

    async def ban(self, subject: str, until: float, reason: str) -> None:
        """Ban by hand, on every replica."""
        ...

    async def lift(self, subject: str) -> bool:
        """End a ban and forget the strikes, on every replica; return whether there was a ban here."""
        ...

    async def list(self, now: float) -> Sequence[Ban]:
        """Return the bans in force, soonest end first."""
        ...

    def count(self) -> int:
        """Return how many bans are in force (to within a second). Local, no I/O."""
        ...


class UsageStore(Protocol):
    """Packed histories of usage by organization, for `anomalies`. Every method raises StoreUnavailable."""

    async def load(self, organization: str) -> bytes | None:
        """Return the history of an organization; None: there is none."""
        ...

    async def save(self, histories: Mapping[str, bytes]) -> None:
        """Keep histories by organization."""
        ...

    async def forget(self, organization: str) -> None:
        """Delete the history of an organization."""
        ...


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure deleted."""

    sessions: int = 0
    conversations: int = 0


@runtime_checkable
class LocalSessions(Protocol):
    """What a store in this process adds to a SessionStore: answers without waiting."""

    def find(self, key: str, now: float) -> Session | None:
        """Return a session that has not expired."""
        ...

    def note_seen(self, key: str, seen: float, ttl: float) -> None:
        """Note that a session was seen: it may be idle for `ttl` from then, never longer than it expires."""
        ...


class KnownSession(NamedTuple):
    """A session as this process last read it from a shared store; whether it is still there, the store knows.

    name  under which the store has it
    mark  how the store's data begin; another session under that name has another mark
    """

    session: Session
    name: str
    mark: bytes


SessionTakes: TypeAlias = tuple[float, Takes]
"""When a session was last seen (epoch seconds), and the state of its request's limits."""


@runtime_checkable
class KnowsSessions(Protocol):
    """What a shared SessionStore adds: the sessions that it has read."""

    def recall(self, key: str, now: float) -> KnownSession | None:
        """Return a session that was read here and has not reached its end at `now`; None: ask the store."""
        ...


@runtime_checkable
class TakesWithSession(Protocol):
    """What a shared RateStore adds that is in the same place as the sessions."""

    def take_with(self, known: KnownSession, asks: Sequence[Ask], now: float) -> Future[SessionTakes | None] | None:
        """Do what `take` does if the session is still there, and nothing otherwise, in one round trip.

        The future never fails; its result is None when the session has ended or changed, or the store is away. None
        at once: it cannot be asked that way now.
        """
        ...


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a store tells of a session without its id. Times are epoch seconds.

    organization  empty: not known (in a shared store beyond its thousandth organization)
    client        what counts as one client; empty in a shared store, which only the id opens
    until         when it ends if nothing more is heard of it
    """

    key: str
    organization: str
    seen: float
    until: float
    client: str = ""


@dataclass(frozen=True, slots=True)
class SessionsFound:
    """Sessions that a search found. `complete` False: not all sessions were looked at, or more were found."""

    sessions: tuple[SessionFacts, ...]
    complete: bool = True


class SessionStore(Protocol):
    """Sessions by the hash of their id, and the conversations that belong to them.

    `seal` is `session.seal_of(id)`: a shared store encrypts with it, and forgets it. Times are epoch
    seconds, `ttl` is the time that a session may be idle. Every method of a shared store raises
    StoreUnavailable within one short timeout; what that means is the caller's decision.
    """

    def bound(self, per_client: int) -> None:
        """Take over a reloaded policy's bound of sessions per client."""
        ...

    async def create(self, session: Session, seal: bytes, ttl: float) -> int:
        """Store a session; return how many older ones of its client were ended to make room."""
        ...

    async def get(self, key: str, seal: bytes, now: float) -> Session | None:
        """Return a session that has not expired; None also when the seal does not open it."""
        ...

    async def touch(self, key: str, seen: float, ttl: float) -> None:
        """Note that a session was seen: it may be idle for `ttl` from then, never longer than it expires."""
        ...

    async def delete(self, key: str, organization: str = "") -> bool:
        """End a session. Its conversations stay bound to it until they expire, so that no other session gets them.

        `organization`: its organization where the caller knows it; a shared store counts it no more then.
        """
        ...

    async def own(self, conversation: str, key: str, ttl: float, now: float) -> str:
        """Give a conversation (a hash of its id) to a session unless it has an owner; return the owner's key."""
        ...

    async def owner(self, conversation: str, now: float) -> str | None:
        """Return the key of the session that a conversation belongs to."""
        ...

    async def move(self, old: str, new: str, now: float) -> int:
        """Give the conversations of one session to another (a rotated id); return how many."""
        ...

    async def erase(self, kind: str, subject: str) -> Erased:
        """Delete what is stored about a `session` (its key), an `ip` or an `organization`, conversations included."""
        ...

    async def cleanup(self, now: float) -> int:
        """Drop what has expired, in bounded time; return how many sessions went."""
        ...

    async def count(self, now: float) -> int:
        """Return how many sessions there are (those that expired since the last cleanup may be among them)."""
        ...

    async def counts(self, organization: str | None, now: float, most: int) -> Mapping[str, int]:
        """Return how many sessions organizations have: one, or (None) the `most` with the most sessions.

        A shared store may count sessions that ended by idleness.
        """
        ...

    async def search(self, prefix: str, organization: str | None, now: float, most: int) -> SessionsFound:
        """Return sessions whose key begins with `prefix` (8 to 64 hexadecimal digits), of one organization or all."""
        ...

    async def some(self, organization: str, now: float, most: int) -> SessionsFound:
        """Return up to `most` sessions of an organization."""
        ...
