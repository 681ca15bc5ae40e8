"""A session for the page that loads: with `sessions.mode: issue` a navigation gets the cookie without asking for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil
from typing import Final

from sidecar.decision import PASS, Decision, Finding, Pass
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Exchange
from sidecar.guards.sessions.session import UNAVAILABLE, Binding, network_of
from sidecar.guards.sessions.session_endpoint import CookieRule, new_id
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.interfaces import SessionStore
from sidecar.vocabulary import Event

FRAMES: Final = frozenset({b"iframe", b"frame"})


def is_navigation(exchange: Exchange) -> bool:
    """Return whether a browser loads a page (Fetch Metadata): a GET for HTML, in a tab or in a frame."""
    head = exchange.head
    get = head.index.get
    if head.method != "GET" or get(b"sec-fetch-mode") != b"navigate" or b"upgrade" in head.index:
        return False
    accepts_html = b"text/html" in get(b"accept", b"text/html")
    return accepts_html and (get(b"sec-fetch-dest", b"document") == b"document" or get(b"sec-fetch-dest") in FRAMES)


class NavigationSession:
    """Begin a session for a navigation that has none, and put its cookie on the response. Asked after the limits.

    embedded  the cookie is kept in frames of other sites (`SameSite=None`)
    required  without a store the page is refused, as its requests would be
    """

    name = "navigation"

    def __init__(
        self,
        store: SessionStore,
        cookies: tuple[bytes, ...],
        rule: CookieRule,
        random: Callable[[int], bytes],
        *,
        max_age: float,
        idle: float,
        binding: Binding,
        required: bool,
    ) -> None:
        self._store = store
        self._cookie = cookies[0]
        self._rule = rule
        self._random = random
        self._max_age = max_age
        self._idle = idle
        self._binding = binding
        self._required = required
        self._embedded = rule.partitioned or rule.same_site == b"None"

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Pass at once what is no navigation; only the store of a new session has to be waited for."""
        if exchange.session is not None or not is_navigation(exchange) or not self._is_kept(exchange):
            return PASS
        return self._begin(exchange)

    async def _begin(self, exchange: Exchange) -> Decision:
        expires = exchange.now + self._max_age
        session_id = new_id(self._random, expires)
        session = Session(
            key_of(session_id),
            exchange.organization,
            exchange.now,
            exchange.now,
            network_of(exchange.client, self._binding),
            exchange.client.subject,
            expires,
        )
        try:
            ended = await self._store.create(session, seal_of(session_id), self._idle)
        except StoreUnavailable:
            return UNAVAILABLE if self._required else PASS
        exchange.session_id, exchange.session_key, exchange.session = session_id, session.key, session
        line = self._rule.line(self._cookie, session_id, ceil(self._max_age))
        # A shared cache must not send this cookie to another client.
        exchange.notes |= {"Set-Cookie": line.decode(), "Cache-Control": "private"}
        findings = [Finding(Event.SESSION_CREATED, {"navigation": True})]
        if ended:
            findings.append(Finding(Event.SESSION_CLEANUP, {"reason": "too many of one client", "sessions": ended}))
        return Pass(tuple(findings))

    def _is_kept(self, exchange: Exchange) -> bool:
        """Return whether the browser will keep the cookie: in a frame of another site it drops a Lax one."""
        get = exchange.head.index.get
        return self._embedded or get(b"sec-fetch-dest") not in FRAMES or get(b"sec-fetch-site") != b"cross-site"
