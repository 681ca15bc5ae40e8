"""`POST` and `DELETE /api/session`: create, renew and end a session; also stores sessions that a backend makes."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Final

import orjson

from sidecar.decision import Answer, Decision, Finding, Refuse
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Exchange
from sidecar.guards.sessions.session import UNAVAILABLE, Binding, is_same_network, network_of
from sidecar.guards.sessions.session_id import SessionIdSources, Shape, is_well_formed
from sidecar.head import Fields
from sidecar.services import Ended
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.interfaces import SessionStore
from sidecar.vocabulary import Code, Event

RANDOM_BYTES: Final = 32
HEADER: Final = b"X-Session-ID"
METHODS: Final = b"POST, DELETE"


@dataclass(frozen=True, slots=True)
class CookieRule:
    """How the cookie of an issued session travels, beside `Secure; HttpOnly; Path=/`."""

    same_site: bytes = b"Lax"
    partitioned: bool = False

    def line(self, name: bytes, session_id: str, max_age: int) -> bytes:
        """Return the value of a Set-Cookie field. Secure always: browsers drop `__Host-` without it."""
        value = (name, session_id.encode(), max_age, self.same_site)
        text = b"%s=%s; Path=/; Max-Age=%d; Secure; HttpOnly; SameSite=%s" % value
        return text + b"; Partitioned" if self.partitioned else text


class SessionEndpoint:
    """Answer the session path. `random` returns that many unpredictable bytes.

    The guards of the head run first: limits, CORS and Fetch Metadata protect this path like every
    other. A POST with a live session renews it: it gets a new id, the old id ends, conversations move
    to the new id, the expiry stays.
    """

    name = "session"

    def __init__(
        self,
        store: SessionStore,
        places: SessionIdSources,
        random: Callable[[int], bytes],
        *,
        max_age: float,
        idle: float,
        binding: Binding,
        cookie: CookieRule | None = None,
        ended: Ended | None = None,
    ) -> None:
        self._store = store
        self._cookie = cookie or CookieRule()
        self._ended = ended
        self._places = places
        self._random = random
        self._max_age = max_age
        self._idle = idle
        self._binding = binding

    async def check(self, exchange: Exchange) -> Decision:
        """Answer one request, as the last guard of its path; never raises for a store that is away."""
        try:
            if exchange.head.method == "POST":
                return await self._begin(exchange)
            if exchange.head.method == "DELETE":
                return await self._end(exchange)
        except StoreUnavailable:
            return UNAVAILABLE
        return Refuse(Code.METHOD_NOT_ALLOWED, {}, [(b"Allow", METHODS)])

    async def _begin(self, exchange: Exchange) -> Answer:
        old = await self._live(exchange)
        now = exchange.now
        expires = old.expires if old is not None and old.expires else now + self._max_age
        session_id = new_id(self._random, expires)
        session = Session(
            key_of(session_id),
            exchange.organization,
            old.created if old is not None else now,
            now,
            network_of(exchange.client, self._binding),
            exchange.client.subject,
            expires,
        )
        ended = await self._store.create(session, seal_of(session_id), self._idle)
        # Of several renewals of one id at the same time, one takes its conversations along; the others begin anew.
        renewed = old is not None and await self._store.delete(old.key)
        if old is not None and renewed:
            await self._store.move(old.key, session.key, now)
        exchange.session_id, exchange.session_key, exchange.session = session_id, session.key, session
        findings = [Finding(Event.SESSION_CREATED, {"renewed": renewed})]
        if ended:
            findings.append(Finding(Event.SESSION_CLEANUP, {"reason": "too many of one client", "sessions": ended}))
        body = orjson.dumps({"sessionId": session_id, "expiresAt": _moment(expires)})
        fields = [(b"Content-Type", b"application/json"), *self._carried(session_id, expires - now)]
        return Answer(201, fields, body, tuple(findings))

    async def _end(self, exchange: Exchange) -> Answer:
        """End the session that was presented; 204 also when there is none, so that a page may repeat the call."""
        gone = bool(exchange.session_key) and await self._store.delete(exchange.session_key)
        exchange.session = None
        findings = (await logged_out(exchange, self._ended),) if gone else ()
        cleared = [(b"Set-Cookie", self._cookie.line(name, "", 0)) for name in self._places.cookies]
        return Answer(204, [(b"Cache-Control", b"no-store"), *cleared], b"", findings)

    async def _live(self, exchange: Exchange) -> Session | None:
        """Return the session that was presented, if it may be renewed from here."""
        if not exchange.session_key:
            return None
        session = await self._store.get(exchange.session_key, seal_of(exchange.session_id), exchange.now)
        if session is None or session.organization != exchange.organization:
            return None
        free = self._binding in (Binding.OFF, Binding.LOG)
        return session if free or is_same_network(session, exchange.client, self._binding) else None

    def _carried(self, session_id: str, left: float) -> Fields:
        fields: Fields = [(b"Cache-Control", b"no-store"), (HEADER, session_id.encode())]
        fields += [(b"Set-Cookie", self._cookie.line(name, session_id, ceil(left))) for name in self._places.cookies]
        return fields


async def logged_out(exchange: Exchange, ended: Ended | None) -> Finding:
    """Return the finding of a session that was logged out, after its handles have been ended."""
    detail: dict[str, str | int | bool] = {"reason": "logout", "sessions": 1}
    if ended is not None and not await ended(exchange.organization, exchange.session_key):
        detail["handles_revoked"] = False
    return Finding(Event.SESSION_CLEANUP, detail)


async def learn(
    exchange: Exchange,
    session_id: str,
    store: SessionStore,
    *,
    max_age: float,
    idle: float,
    binding: Binding,
    shape: Shape = is_well_formed,
) -> Finding | None:
    """Store a session that the backend named in its response; None for one that is known or too weak.

    Called with `mode: learn` only, and never with an id that the client presented: the response would only
    repeat it. From here on the exchange belongs to the session.
    """
    if not shape(session_id) or session_id == exchange.session_id:
        return None
    key, now = key_of(session_id), exchange.now
    if await store.get(key, seal_of(session_id), now) is not None:
        return None
    home = network_of(exchange.client, binding)
    session = Session(key, exchange.organization, now, now, home, exchange.client.subject, now + max_age)
    await store.create(session, seal_of(session_id), idle)
    exchange.session_id, exchange.session_key, exchange.session = session_id, key, session
    return Finding(Event.SESSION_CREATED, {"learned": True})


def new_id(random: Callable[[int], bytes], expires: float) -> str:
    """Make an id: 256 random bits, and when it ends at the latest, so that the log can tell old from forged."""
    return f"{urlsafe_b64encode(random(RANDOM_BYTES)).decode().rstrip('=')}.{int(expires):x}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
