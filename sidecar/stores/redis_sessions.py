"""Sessions that replicas share, sealed so that only the id opens them.

PREFIX:s:KEY        hash: d (sealed data), s (last seen), e (absolute end); expires by itself
PREFIX:c:HASH       a conversation: its owner's key; expires by itself
PREFIX:of:KIND:X    sorted sets, by end: the sessions of an ip or an organization, the conversations of a session
PREFIX:of           sorted set of the organizations that have such an index, by its end
PREFIX:sessions     sorted set of all sessions, by end
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidecar.bounded_cache import BoundedCache
from sidecar.session import Session
from sidecar.stores.interfaces import Erased, KnownSession, SessionFacts, SessionsFound
from sidecar.stores.memory_sessions import KEY, PER_SESSION, deadline
from sidecar.stores.redis_connection import Command, RedisClient, Script

NONCE_SIZE: Final = 12  # NIST SP 800-38D §5.2.1.1
KEPT: Final = 30 * 86_400.0
"""Seconds for which a session without an end of its own stays in an index."""

ERASED_AT_ONCE: Final = 500
PATIENCE: Final = 2.0
"""Seconds that a question of an operator may take."""
NAMED: Final = 1000
"""Organizations that are looked through for a session, and whose sessions are counted."""
LOOKED_UP: Final = 2000
"""Places where a search looks for the organizations of what it found."""
SEARCHED_AT_ONCE: Final = 1000
SEARCHED: Final = 200_000
"""Sessions that one search looks at."""
ROUNDS: Final = 200
KNOWN: Final = 8 * 1024 * 1024
"""Bytes of sessions that are recalled: some 9,000."""
SIZE: Final = 700
"""Bytes of one, besides its data."""


class RedisSessionStore:
    """Sessions in Redis; `per_client` of one client, beyond that its oldest ends."""

    def __init__(self, wire: RedisClient, per_client: int = 100, prefix: str = "sidecar") -> None:
        self._wire = wire
        self._per_client = per_client
        self._prefix = prefix
        self._script = Script("session.lua")
        self._all = f"{prefix}:sessions"
        self._organizations = f"{prefix}:of"
        self._known: BoundedCache[str, KnownSession] = BoundedCache(KNOWN)

    def bound(self, per_client: int) -> None:
        """Take over a reloaded policy's bound; a client above it keeps its sessions until it begins another one."""
        self._per_client = per_client

    async def create(self, session: Session, seal: bytes, ttl: float) -> int:
        """Store a session, sealed; return how many older ones of its client ended for it."""
        key, end = self._session(session.key), deadline(session, session.seen, ttl)
        last = session.expires or session.seen + max(ttl, KEPT)
        organization = self._of("organization", session.organization)
        fields = ("d", _sealed(session, seal), "s", repr(session.seen), "e", repr(session.expires))
        commands: list[Command] = [
            ("HSET", key, *fields),
            ("PEXPIRE", key, _milli(end - session.seen)),
            ("ZADD", self._all, end, session.key),
            *self._indexed(organization, session.key, last, session.seen),
            *self._indexed(self._organizations, session.organization, last, session.seen),
        ]
        if not session.client:
            await self._wire.submit(commands)
            return 0
        client = self._of("ip", session.client)
        commands += [*self._indexed(client, session.key, last, session.seen), ("ZCARD", client)]
        excess = (await self._wire.submit(commands))[-1] - self._per_client
        return await self._end_oldest(client, excess) if excess > 0 else 0

    async def get(self, key: str, seal: bytes, now: float) -> Session | None:
        """Return a session that has not expired and that the seal opens."""
        (answer,) = await self._wire.submit([("HMGET", self._session(key), "d", "s")])
        data, seen = answer
        if data is None or seen is None:
            return None
        session = _opened(key, data, seal, float(seen))
        if session is None or 0 < session.expires <= now:
            return None
        known, mark = self._known.get(key), data[:NONCE_SIZE]
        if known is None or known.mark != mark:
            self._known.remember(key, KnownSession(session, self._session(key), mark), SIZE + len(data))
        return session

    def recall(self, key: str, now: float) -> KnownSession | None:
        """Return a session that was read here and has not reached its end; it may have ended otherwise."""
        known = self._known.get(key)
        return None if known is None or 0 < known.session.expires <= now else known

    async def touch(self, key: str, seen: float, ttl: float) -> None:
        """Note that a session was seen."""
        await self._wire.submit(
            [
                self._script.call([self._session(key)], "touch", repr(seen), _milli(ttl)),
                ("ZADD", self._all, "XX", seen + ttl, key),
            ]
        )

    async def delete(self, key: str, organization: str = "") -> bool:
        """End a session; its conversations stay its own."""
        self._known.pop(key, None)
        commands: list[Command] = [("DEL", self._session(key)), ("ZREM", self._all, key)]
        if organization:
            commands.append(("ZREM", self._of("organization", organization), key))
        return bool((await self._wire.submit(commands))[0])

    async def own(self, conversation: str, key: str, ttl: float, now: float) -> str:
        """Give a conversation to a session unless it has an owner; return the owner's key."""
        name = self._conversation(conversation)
        (owner,) = await self._wire.submit([self._script.call([name], "own", key, _milli(ttl))])
        if owner.decode() == key:
            mine = self._of("session", key)
            commands = [*self._indexed(mine, conversation, now + ttl, now), ("ZCARD", mine)]
            excess = (await self._wire.submit(commands))[-1] - PER_SESSION
            if excess > 0:
                (popped,) = await self._wire.submit([("ZPOPMIN", mine, excess)])
                await self._wire.submit([("DEL", self._conversation(each.decode())) for each in popped[::2]])
        return str(owner.decode())

    async def owner(self, conversation: str, now: float) -> str | None:  # noqa: ARG002  # Redis knows the time
        """Return the key of the session that a conversation belongs to."""
        (owner,) = await self._wire.submit([("GET", self._conversation(conversation))])
        return owner.decode() if owner is not None else None

    async def move(self, old: str, new: str, now: float) -> int:
        """Give the conversations of one session to another; return how many."""
        (names,) = await self._wire.submit([("ZRANGE", self._of("session", old), 0, -1, "WITHSCORES")])
        pairs = [(name.decode(), float(end)) for name, end in zip(names[::2], names[1::2], strict=True)]
        if not pairs:
            return 0
        moves = [self._script.call([self._conversation(name)], "move", old, new) for name, _ in pairs]
        moved = int(sum(await self._wire.submit(moves)))
        indexed = [
            command for name, end in pairs for command in self._indexed(self._of("session", new), name, end, now)
        ]
        await self._wire.submit([*indexed, ("DEL", self._of("session", old))])
        return moved

    async def erase(self, kind: str, subject: str) -> Erased:
        """Delete what is stored about a `session`, an `ip` or an `organization`."""
        self._known.clear()
        if kind == "session":
            return await self._erase([subject])
        if kind not in {"ip", "organization"}:
            return Erased()
        index, total = self._of(kind, subject), Erased()
        while True:
            (names,) = await self._wire.submit([("ZRANGE", index, 0, ERASED_AT_ONCE - 1)])
            if not names:
                return total
            erased = await self._erase([name.decode() for name in names])
            await self._wire.submit([("ZREM", index, *names)])
            total = Erased(total.sessions + erased.sessions, total.conversations + erased.conversations)

    async def cleanup(self, now: float) -> int:
        """Remove what has expired from the count; Redis deletes the data itself, and one replica gets the number."""
        (gone,) = await self._wire.submit([("ZREMRANGEBYSCORE", self._all, "-inf", now)])
        return int(gone)

    async def count(self, now: float) -> int:
        """Return how many sessions there are."""
        (count,) = await self._wire.submit([("ZCOUNT", self._all, now, "+inf")])
        return int(count)

    async def counts(self, organization: str | None, now: float, most: int) -> Mapping[str, int]:
        """Return how many sessions an organization has, or those with the most have.

        Those among them that ended by idleness are counted too.
        """
        names = [organization] if organization is not None else await self._named(now)
        if not names:
            return {}
        counts = await self._asked([("ZCOUNT", self._of("organization", name), now, "+inf") for name in names])
        pairs = sorted(zip(names, map(int, counts), strict=True), key=lambda pair: (-pair[1], pair[0]))
        return {name: count for name, count in pairs[:most] if count or organization is not None}

    async def search(self, prefix: str, organization: str | None, now: float, most: int) -> SessionsFound:
        """Return sessions whose key begins with `prefix`, among up to 200,000 that are looked at."""
        index = self._all if organization is None else self._of("organization", organization)
        if len(prefix) == KEY:
            (indexed,) = await self._asked([_is_in(index, prefix)])
            known = [prefix] if indexed is not None or organization is None else []
            return SessionsFound(tuple(await self._facts(known, organization, now)))
        keys, start, names = list[str](), 0, [b""]
        while names and start < SEARCHED and len(keys) <= most:
            (names,) = await self._asked([("ZRANGE", index, start, start + SEARCHED_AT_ONCE - 1)])
            keys += [key for key in map(bytes.decode, names) if key.startswith(prefix)]
            start += SEARCHED_AT_ONCE
        found = await self._facts(keys[:most], organization, now)
        return SessionsFound(tuple(found), not names and len(keys) <= most)

    async def some(self, organization: str, now: float, most: int) -> SessionsFound:
        """Return sessions of an organization; what has ended leaves its index."""
        index = self._of("organization", organization)
        found: list[SessionFacts] = []
        for _ in range(ROUNDS):
            last = len(found) + min(ERASED_AT_ONCE, most + 1 - len(found)) - 1
            (names,) = await self._asked([("ZRANGE", index, len(found), last)])
            if not names:
                return SessionsFound(tuple(found))
            living = await self._facts([name.decode() for name in names], organization, now)
            if gone := {name.decode() for name in names} - {each.key for each in living}:
                await self._asked([("ZREM", index, *gone)])
            found += living
            if len(found) > most:
                break
        return SessionsFound(tuple(found[:most]), complete=False)

    async def _facts(self, keys: Sequence[str], organization: str | None, now: float) -> list[SessionFacts]:
        """Return what is known of the sessions that are there."""
        commands: list[Command] = []
        for key in keys:
            commands += [("HGET", self._session(key), "s"), ("PTTL", self._session(key))]
        answers = await self._asked(commands) if commands else []
        living = [
            (key, float(seen), left)
            for key, seen, left in zip(keys, answers[::2], answers[1::2], strict=True)
            if seen is not None and left > 0
        ]
        owners = await self._owners([key for key, _, _ in living], now) if organization is None else {}
        return [
            SessionFacts(key, owners.get(key, organization or ""), seen, now + left / 1000)
            for key, seen, left in living
        ]

    async def _owners(self, keys: Sequence[str], now: float) -> dict[str, str]:
        """Return the organizations of sessions, by the indexes that name them."""
        names = await self._named(now) if keys else []
        places = [(name, key) for key in keys for name in names][:LOOKED_UP]
        if not places:
            return {}
        asked = [_is_in(self._of("organization", name), key) for name, key in places]
        scores = await self._asked(asked)
        return {key: name for (name, key), score in zip(places, scores, strict=True) if score is not None}

    async def _named(self, now: float) -> list[str]:
        """Return the organizations that have sessions, at most 1000."""
        (names,) = await self._asked([("ZRANGE", self._organizations, now, "+inf", "BYSCORE", "LIMIT", 0, NAMED)])
        return [name.decode() for name in names]

    def _asked(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Ask for an operator: what takes longer than a request may wait is no sign that Redis is away."""
        return self._wire.submit(commands, PATIENCE)

    async def _end_oldest(self, client: str, excess: int) -> int:
        (popped,) = await self._wire.submit([("ZPOPMIN", client, excess)])
        keys = [each.decode() for each in popped[::2]]
        gone = await self._wire.submit([("DEL", self._session(key)) for key in keys])
        await self._wire.submit([("ZREM", self._all, *keys)])
        return int(sum(gone))

    async def _erase(self, keys: Sequence[str]) -> Erased:
        commands: list[Command] = [("DEL", self._session(key)) for key in keys]
        commands += [("ZRANGE", self._of("session", key), 0, -1) for key in keys]
        answers = await self._wire.submit([*commands, ("ZREM", self._all, *keys)])
        names = [self._conversation(each.decode()) for owned in answers[len(keys) : 2 * len(keys)] for each in owned]
        rest: list[Command] = [("DEL", name) for name in names]
        rest += [("DEL", self._of("session", key)) for key in keys]
        gone = await self._wire.submit(rest)
        return Erased(sum(answers[: len(keys)]), sum(gone[: len(names)]))

    @staticmethod
    def _indexed(index: str, member: str, end: float, now: float) -> list[Command]:
        """Return the commands that put a name into an index, and those out that are over."""
        keep = _milli(max(end - now, 1.0))
        return [
            ("ZREMRANGEBYSCORE", index, "-inf", now),
            ("ZADD", index, "GT", end, member),
            # NX sets a missing expiry, GT only ever lengthens one: the index outlives its last member.
            ("PEXPIRE", index, keep, "NX"),
            ("PEXPIRE", index, keep, "GT"),
        ]

    def _session(self, key: str) -> str:
        return f"{self._prefix}:s:{key}"

    def _conversation(self, name: str) -> str:
        return f"{self._prefix}:c:{name}"

    def _of(self, kind: str, subject: str) -> str:
        return f"{self._prefix}:of:{kind}:{subject}"


def _is_in(index: str, member: str) -> Command:
    """Return a command that is answered with None unless an index has a member.

    It adds 0 to the score of a member that is there, and is among the rights that the docs ask for; ZSCORE is not.
    """
    return ("ZADD", index, "XX", "INCR", 0, member)


def _milli(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _sealed(session: Session, seal: bytes) -> bytes:
    """Encrypt a session's data, bound to its key, so that it does not open under another one."""
    data = [session.organization, session.created, session.network, session.client, session.expires]
    nonce = os.urandom(NONCE_SIZE)
    return nonce + AESGCM(seal).encrypt(nonce, orjson.dumps(data), session.key.encode())


def _opened(key: str, data: bytes, seal: bytes, seen: float) -> Session | None:
    try:
        plain: Any = orjson.loads(AESGCM(seal).decrypt(data[:NONCE_SIZE], data[NONCE_SIZE:], key.encode()))
        organization, created, network, client, expires = plain
    except (InvalidTag, ValueError):
        return None
    return Session(key, organization, created, seen, network, client, expires)
