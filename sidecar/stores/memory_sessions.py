"""Sessions and the conversations that belong to them, in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from sidecar.session import Session
from sidecar.stores.interfaces import Erased, SessionFacts, SessionsFound

PER_SESSION: Final = 256
"""Conversations that one session may own: more push out its own oldest, never another session's."""

KEY: Final = 64
"""Characters of a whole key."""

STRIDE: Final = 2000
"""Entries that one cleanup visits: about a millisecond, so that no request waits for it."""


def deadline(session: Session, seen: float, ttl: float) -> float:
    """Return when a session seen at `seen` ends: idle for `ttl`, or at its own end, whichever is first."""
    return min(seen + ttl, session.expires) if session.expires else seen + ttl


class MemorySessionStore:
    """At most `max_sessions`, and `per_client` of one client; beyond that the least recently seen ends.

    The least recently seen also bounds conversations: `max_conversations` in all, 256 a session.
    """

    def __init__(self, max_sessions: int = 100_000, per_client: int = 100, max_conversations: int = 200_000) -> None:
        self._most = max_sessions
        self._per_client = per_client
        self._most_owned = max_conversations
        self._sessions: OrderedDict[str, tuple[Session, float]] = OrderedDict()
        self._clients: dict[str, OrderedDict[str, None]] = {}
        self._counts: dict[str, int] = {}  # organization → sessions
        self._owned: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._owns: dict[str, OrderedDict[str, None]] = {}
        self._round: list[str] = []
        self._owned_round: list[str] = []

    def bound(self, per_client: int) -> None:
        """Take over a reloaded policy's bound; a client above it keeps its sessions until it begins another one."""
        self._per_client = per_client

    async def create(self, session: Session, seal: bytes, ttl: float) -> int:  # noqa: ARG002  # nothing leaves the process
        """Store a session; return how many older ones of its client ended for it."""
        self._drop(session.key)
        ended = 0
        mine = self._clients.setdefault(session.client, OrderedDict())
        while session.client and len(mine) >= self._per_client:
            ended += self._drop(next(iter(mine)))
        while len(self._sessions) >= self._most:
            self._drop(next(iter(self._sessions)))
        self._sessions[session.key] = (session, deadline(session, session.seen, ttl))
        self._counts[session.organization] = self._counts.get(session.organization, 0) + 1
        self._clients.setdefault(session.client, mine)[session.key] = None
        return ended

    async def get(self, key: str, seal: bytes, now: float) -> Session | None:  # noqa: ARG002  # as above
        """Return a session that has not expired."""
        return self.find(key, now)

    def find(self, key: str, now: float) -> Session | None:
        """Return a session that has not expired."""
        entry = self._sessions.get(key)
        if entry is None or entry[1] <= now:
            return None
        return entry[0]

    async def touch(self, key: str, seen: float, ttl: float) -> None:
        """Note that a session was seen."""
        self.note_seen(key, seen, ttl)

    def note_seen(self, key: str, seen: float, ttl: float) -> None:
        """Note that a session was seen."""
        entry = self._sessions.get(key)
        if entry is None or entry[1] <= seen:
            return
        session = replace(entry[0], seen=seen)
        self._sessions[key] = (session, deadline(session, seen, ttl))
        self._sessions.move_to_end(key)
        self._clients[session.client].move_to_end(key)

    async def delete(self, key: str, organization: str = "") -> bool:  # noqa: ARG002  # it is stored with it
        """End a session; its conversations stay its own."""
        return self._drop(key)

    async def own(self, conversation: str, key: str, ttl: float, now: float) -> str:
        """Give a conversation to a session unless it has an owner; return the owner's key."""
        entry = self._owned.get(conversation)
        if entry is not None and entry[1] > now and entry[0] != key:
            return entry[0]
        if entry is not None:
            self._disown(conversation)
        mine = self._owns.setdefault(key, OrderedDict())
        if len(mine) >= PER_SESSION:
            self._disown(next(iter(mine)))
        while len(self._owned) >= self._most_owned:
            self._disown(next(iter(self._owned)))
        self._owned[conversation] = (key, now + ttl)
        self._owns.setdefault(key, mine)[conversation] = None
        return key

    async def owner(self, conversation: str, now: float) -> str | None:
        """Return the key of the session that a conversation belongs to."""
        entry = self._owned.get(conversation)
        return entry[0] if entry is not None and entry[1] > now else None

    async def move(self, old: str, new: str, now: float) -> int:
        """Give the conversations of one session to another; return how many."""
        names = list(self._owns.get(old, ()))
        for name in names:
            _, until = self._owned[name]
            self._disown(name)
            await self.own(name, new, until - now, now)
        return len(names)

    async def erase(self, kind: str, subject: str) -> Erased:
        """Delete what is stored about a `session`, an `ip` or an `organization`."""
        if kind == "session":
            keys = [subject]
        elif kind == "ip":
            keys = list(self._clients.get(subject, ()))
        elif kind == "organization":
            keys = [key for key, (session, _) in self._sessions.items() if session.organization == subject]
        else:
            keys = []
        sessions = conversations = 0
        for key in keys:
            sessions += self._drop(key)
            for name in list(self._owns.get(key, ())):
                self._disown(name)
                conversations += 1
        return Erased(sessions, conversations)

    async def cleanup(self, now: float) -> int:
        """Look at the next 2000 sessions and conversations; drop the expired; return how many sessions went."""
        gone = 0
        self._round = self._round or list(self._sessions)
        for _ in range(min(STRIDE, len(self._round))):
            key = self._round.pop()
            entry = self._sessions.get(key)
            if entry is not None and entry[1] <= now:
                gone += self._drop(key)
        self._owned_round = self._owned_round or list(self._owned)
        for _ in range(min(STRIDE, len(self._owned_round))):
            owned = self._owned.get(name := self._owned_round.pop())
            if owned is not None and owned[1] <= now:
                self._disown(name)
        return gone

    async def count(self, now: float) -> int:  # noqa: ARG002  # a shared store needs the time
        """Return how many sessions there are."""
        return len(self._sessions)

    async def counts(self, organization: str | None, now: float, most: int) -> Mapping[str, int]:  # noqa: ARG002
        """Return how many sessions an organization has, or those with the most have."""
        if organization is not None:
            return {organization: self._counts.get(organization, 0)}
        return dict(sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most])

    async def search(self, prefix: str, organization: str | None, now: float, most: int) -> SessionsFound:
        """Return sessions whose key begins with `prefix`."""
        if len(prefix) == KEY:
            keys: Iterable[str] = [prefix] if prefix in self._sessions else []
        else:
            keys = [key for key in self._sessions if key.startswith(prefix)]
        return self._facts(keys, organization, now, most)

    async def some(self, organization: str, now: float, most: int) -> SessionsFound:
        """Return sessions of an organization."""
        return self._facts(self._sessions, organization, now, most)

    def _facts(self, keys: Iterable[str], organization: str | None, now: float, most: int) -> SessionsFound:
        found: list[SessionFacts] = []
        for key in keys:
            session, until = self._sessions[key]
            if until > now and organization in (None, session.organization):
                if len(found) >= most:
                    return SessionsFound(tuple(found), complete=False)
                found.append(SessionFacts(key, session.organization, session.seen, until, session.client))
        return SessionsFound(tuple(found))

    def _drop(self, key: str) -> bool:
        entry = self._sessions.pop(key, None)
        if entry is None:
            return False
        mine = self._clients[entry[0].client]
        del mine[key]
        if not mine:
            del self._clients[entry[0].client]
        organization = entry[0].organization
        self._counts[organization] -= 1
        if not self._counts[organization]:
            del self._counts[organization]
        return True

    def _disown(self, conversation: str) -> None:
        key, _ = self._owned.pop(conversation)
        mine = self._owns[key]
        del mine[conversation]
        if not mine:
            del self._owns[key]
