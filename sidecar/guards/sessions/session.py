"""Whether the session that a client presents exists, and may be used from the client's network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from sidecar.decision import KEEP, PASS, Answer, Decision, Finding, Inspection, Keep, Pass, Refuse, waiting
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Client, Exchange
from sidecar.guards.sessions.session_id import SessionIdGuard
from sidecar.session import Session, seal_of
from sidecar.stores.interfaces import LocalSessions, SessionStore
from sidecar.vocabulary import Code, Event

TOUCH_AFTER: Final = 60.0
"""Seconds between two updates of the time of last use, so that not each request writes to the store.
A quarter of the idle time, where that is less: use must keep a session alive."""

READING: Final = frozenset({"GET", "HEAD"})

Find: TypeAlias = Callable[[Exchange, bytes], Sequence[str]]

UNAVAILABLE: Final = Refuse(Code.OVERLOADED, {"reason": "session store"}, [(b"Retry-After", b"1")])
MISSING: Final = Refuse(Code.INVALID_SESSION_ID, {"reason": "missing"})


class Need(StrEnum):
    """What a route asks for."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


class Binding(StrEnum):
    """How firmly a session belongs to the network that it was made in."""

    OFF = "off"
    LOG = "log"
    PREFIX = "prefix"
    STRICT = "strict"


def network_of(client: Client, binding: Binding) -> str:
    """Return what a new session is bound to: the client's address if strict, else its network."""
    return client.address if binding is Binding.STRICT else client.network


def is_same_network(session: Session, client: Client, binding: Binding) -> bool:
    """Return whether a client is in the network where the session was made; under `strict` it is an address."""
    if binding is Binding.STRICT:
        return session.network == client.address
    return session.network in (client.network, client.address)


class SessionGuard:
    """Set `exchange.session`. Asked after the ids of the head; a store in this process answers at once,
    each wait for another is bounded by that store.

    A request without an id in its head may have one in its body: where the policy names such a place
    the question stays open, and `BodySessionGuard`, which a route then needs, settles it. An id that
    is presented must be good, also where a session is optional: the page should ask for a new one.
    Only what loads a page there (`ids` given) goes on as if it had presented none. `seal` yields what
    opens a session in the store; one in this process needs none. `remembers_since`: an unknown id that ends
    before this moment (epoch seconds) was issued before a restart; it is refused, and is no forgery.
    `begins` names requests that are given a new session further on, so that they need not bring one.
    """

    name = "session"

    def __init__(
        self,
        store: SessionStore,
        need: Need,
        *,
        binding: Binding,
        idle: float,
        in_body: bool = False,
        pass_when_unavailable: bool = False,
        ids: SessionIdGuard | None = None,
        seal: Callable[[str], bytes] = seal_of,
        remembers_since: float = 0.0,
        begins: Callable[[Exchange], bool] | None = None,
    ) -> None:
        self._store = store
        self._local = store if isinstance(store, LocalSessions) else None
        self._need = need
        self._binding = binding
        self._idle = idle
        self._touch_after = min(TOUCH_AFTER, idle / 4)
        self._in_body = in_body
        self._pass_when_unavailable = pass_when_unavailable
        self._ids = ids
        self._seal = seal
        self._remembers_since = remembers_since
        self._begins = begins

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Refuse with 400 a session that is missing, unknown or on another network, with 503 without a store."""
        if not exchange.session_key and self._in_body and has_body(exchange):
            return PASS
        decision = self.settle(exchange)
        if isinstance(decision, Pass):
            return decision
        return self._forgiven(exchange, decision) if isinstance(decision, Refuse) else self._later(exchange, decision)

    async def _later(self, exchange: Exchange, settled: Awaitable[Pass | Refuse]) -> Decision:
        decision = await settled
        return self._forgiven(exchange, decision) if isinstance(decision, Refuse) else decision

    def _forgiven(self, exchange: Exchange, refuse: Refuse) -> Decision:
        if self._ids is None:
            return refuse
        if self._need is Need.OPTIONAL and loads_page(exchange):
            return self._ids.forgive(exchange, refuse)
        if refuse.code is Code.INVALID_SESSION_ID and self._begins is not None and self._begins(exchange):
            return PASS if refuse is MISSING else self._ids.forgive(exchange, refuse)
        return refuse

    def settle(self, exchange: Exchange) -> Pass | Refuse | Awaitable[Pass | Refuse]:
        """Decide by what has been presented so far; at once where the store is in this process."""
        if self._need is Need.NONE or exchange.session is not None:
            return PASS
        if not exchange.session_key:
            return MISSING if self._need is Need.REQUIRED else PASS
        if self._local is None:
            return self._asked(exchange)
        session = self._local.find(exchange.session_key, exchange.now)
        decision = self.judged(exchange, session)
        if session is not None and type(decision) is Pass and exchange.now - session.seen >= self._touch_after:
            self._local.note_seen(session.key, exchange.now, self._idle)
        return decision

    async def _asked(self, exchange: Exchange) -> Pass | Refuse:
        """Decide by what a store across the network says."""
        try:
            session = await self._store.get(exchange.session_key, self._seal(exchange.session_id), exchange.now)
        except StoreUnavailable:
            return PASS if self._pass_when_unavailable else UNAVAILABLE
        decision = self.judged(exchange, session)
        if session is not None and type(decision) is Pass and self.is_stale(session.seen, exchange.now):
            await self.touched(session, exchange.now)
        return decision

    def is_stale(self, seen: float, now: float) -> bool:
        """Return whether the time of last use has to be written again."""
        return now - seen >= self._touch_after

    async def touched(self, session: Session, now: float) -> None:
        """Write the time of last use."""
        with suppress(StoreUnavailable):  # it was read a moment ago; at worst it ends a little early
            await self._store.touch(session.key, now, self._idle)

    def judged(self, exchange: Exchange, session: Session | None) -> Pass | Refuse:
        """Return whether this client may use this session here; set `exchange.session` when it may."""
        if session is None:
            expires = expiry_of(exchange.session_id)
            reason, event = "unknown", None
            if expires is not None and expires <= exchange.now:
                reason, event = "expired", Event.SESSION_EXPIRED
            elif expires is not None and expires < self._remembers_since:
                reason = "lost"
            return Refuse(Code.INVALID_SESSION_ID, {"reason": reason}, event=event)
        if session.organization != exchange.organization:
            return Refuse(Code.INVALID_SESSION_ID, {"reason": "organization"})
        moved = self._binding is not Binding.OFF and not is_same_network(session, exchange.client, self._binding)
        if moved and self._binding is not Binding.LOG:
            detail = {"reason": "network", "binding": str(self._binding)}
            return Refuse(Code.INVALID_SESSION_ID, detail, event=Event.SESSION_NETWORK_CHANGED)
        exchange.session = session
        return Pass((Finding(Event.SESSION_NETWORK_CHANGED, {"binding": "log"}),)) if moved else PASS


class Settles(Protocol):
    """What decides about the session that a request presents: SessionGuard, or one that asks for more with it."""

    def settle(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Decide by what has been presented so far."""
        ...


class BodySessionGuard:
    """Settle the sessions that are in bodies. `find` returns what is at the policy's paths, or nothing."""

    name = "session"

    def __init__(self, ids: SessionIdGuard, guard: Settles, find: Find) -> None:
        self.guard = guard
        self._ids = ids
        self._find = find

    def over(self, guard: Settles) -> BodySessionGuard:
        """Return the same guard, over another one that decides."""
        return BodySessionGuard(self._ids, guard, self._find)

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection | Awaitable[Inspection]:
        """Look up the session that the body names; refuse with 400 ids that are malformed or differ from the head's."""
        for session_id in self._find(exchange, body):
            refusal = self._ids.present(exchange, session_id, "body")
            if refusal is not None:
                return refusal
        if exchange.session is not None:
            return KEEP  # the head presented it
        decision = self.guard.settle(exchange)
        return _kept(decision) if isinstance(decision, Pass | Answer | Refuse) else waiting(decision).then(_kept)


def _kept(decision: Decision) -> Inspection:
    if not isinstance(decision, Pass):
        return decision
    return Keep(decision.findings) if decision.findings else KEEP


def expiry_of(session_id: str) -> int | None:
    """Return when an id of ours says itself that it ends (epoch seconds): only log and strikes depend on it."""
    _, separator, moment = session_id.rpartition(".")
    try:
        return int(moment, 16) if separator else None
    except ValueError:
        return None


def has_body(exchange: Exchange) -> bool:
    """Return whether a body follows the head, so that guards of the body will be asked (RFC 9112 §6)."""
    index = exchange.head.index
    length = index.get(b"content-length")
    return b"transfer-encoding" in index or (length is not None and int(length) > 0)


def loads_page(exchange: Exchange) -> bool:
    """Return whether a request only reads. A WebSocket's handshake begins more than that."""
    return exchange.head.method in READING and b"upgrade" not in exchange.head.index
