"""Ownership of conversations: an id belongs to the session that first named it or received it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from sidecar.decision import KEEP, PASS, Decision, Inspection, Refuse
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Exchange
from sidecar.guards.sessions.conversation_ids import (
    BodyIdPrefilter,
    ConversationIdPlaces,
    canonical,
    form_of,
    in_form,
    in_target,
    in_value,
)
from sidecar.guards.sessions.session import UNAVAILABLE, has_body
from sidecar.messages.content_type import open_body
from sidecar.messages.strict_json import Fault, parse
from sidecar.stores.interfaces import SessionStore
from sidecar.vocabulary import Code

MOST_IDS: Final = 32
"""Ids that one request may name: each is a question to the store."""

MAX_OPENED: Final = 1 << 20


class Ownership:
    """Shared by the ownership guards of a route's head and body and the observer of its responses.

    `adopt` gives an unowned id to the session that names it; otherwise an unowned id is refused like
    another session's. A request without a session owns nothing.
    """

    def __init__(
        self,
        store: SessionStore,
        names: ConversationIdPlaces,
        *,
        ttl: float,
        adopt: bool = False,
        pass_when_unavailable: bool = False,
    ) -> None:
        self.names = names
        self._store = store
        self._ttl = ttl
        self._adopt = adopt or names.client_named
        self._pass_when_unavailable = pass_when_unavailable

    async def judge(self, exchange: Exchange, ids: Iterable[str]) -> Refuse | None:
        """Return why a request may not name these conversations, or None."""
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return None
        if len(wanted) > MOST_IDS:
            return Refuse(Code.MESSAGE_INVALID, {"reason": "too many conversations"})
        try:
            for each in wanted:
                reason = await self._judge(exchange, key_of_conversation(exchange.organization, each))
                if reason:
                    return Refuse(Code.FORBIDDEN, {"reason": reason, "protocol": self.names.protocol})
        except StoreUnavailable:
            return None if self._pass_when_unavailable else UNAVAILABLE
        return None

    async def _judge(self, exchange: Exchange, conversation: str) -> str:
        session = exchange.session
        if session is not None and self._adopt:
            owner: str | None = await self._store.own(conversation, session.key, self._ttl, exchange.now)
        else:
            owner = await self._store.owner(conversation, exchange.now)
        if owner is None:
            return "" if self._adopt else "unknown conversation"
        if session is None:
            return "conversation without a session"
        return "" if owner == session.key else "conversation of another session"

    def in_head(self, exchange: Exchange) -> list[str]:
        """Return the ids in a request's URL and headers."""
        names = self.names
        ids = in_target(exchange.head.target, names.url)
        header = exchange.head.index.get(names.header) if names.header else None
        return [*ids, canonical(header.decode("latin-1"))] if header else ids

    async def own(self, exchange: Exchange, found: str) -> None:
        """Give a conversation that an answer names to the exchange's session, unless it has an owner."""
        if exchange.session is not None:
            conversation = key_of_conversation(exchange.organization, canonical(found))
            await self._store.own(conversation, exchange.session.key, self._ttl, exchange.now)


class OwnershipGuard:
    """Ask about the conversations that a URL or a header names. After the session's guard.

    Where the session itself may be in the body (`in_body`) the question waits for it.
    """

    name = "ownership"

    def __init__(self, ownership: Ownership, *, in_body: bool = False) -> None:
        self._ownership = ownership
        self._in_body = in_body

    async def check(self, exchange: Exchange) -> Decision:
        """Refuse with 403 when a conversation of the URL or header belongs to another session."""
        if self._in_body and exchange.session is None and has_body(exchange):
            return PASS
        ids = self._ownership.in_head(exchange)
        return (await self._ownership.judge(exchange, ids) or PASS) if ids else PASS


class BodyOwnershipGuard:
    """Ask about the conversations that a body names. After the guard of sessions in bodies.

    Bodies whose messages are looked at were read before; `alone` is for routes without that: what
    calls itself JSON and may name one must be readable, others (uploads) need not be.
    """

    name = "ownership"

    def __init__(self, ownership: Ownership, *, alone: bool = False, in_body: bool = False) -> None:
        self._ownership = ownership
        self._alone = alone
        self._in_body = in_body
        self._spelled = BodyIdPrefilter(ownership.names.paths)

    async def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Refuse with 403 when a conversation of the body belongs to another session, with 400 an unreadable body."""
        ids = self._ownership.in_head(exchange) if self._in_body else []
        found = self._found(exchange, body) if body else []
        if isinstance(found, Refuse):
            return found
        ids += found
        return (await self._ownership.judge(exchange, ids) or KEEP) if ids else KEEP

    def _found(self, exchange: Exchange, body: bytes) -> list[str] | Refuse:
        """Return the ids in a body, or the reason why they cannot be read."""
        index, paths = exchange.head.index, self._ownership.names.paths
        kind = index.get(b"content-type", b"")
        opened = open_body(index.get(b"content-encoding"), body, MAX_OPENED)
        if not isinstance(opened, bytes):
            return invalid(opened) if self._alone else []
        form = form_of(kind)
        if form is not None:
            fields = in_form(form, opened, paths)
            if isinstance(fields, str):
                return [] if self._alone else invalid(fields)
            return [canonical(text) for text in fields if text]
        if not self._spelled.may_stand_in(opened):
            return []
        value = parse(opened)
        if type(value) is Fault:
            return invalid(value.value) if self._alone and b"json" in kind.lower() else []
        return in_value(value, paths)


def invalid(reason: str) -> Refuse:
    """Return the refusal of a body whose conversation ids cannot be read for certain."""
    return Refuse(Code.MESSAGE_INVALID, {"reason": reason})


def key_of_conversation(organization: str, found: str) -> str:
    """Return the name under which a conversation is stored: its id stays with those who use it."""
    return hashlib.sha256(f"{organization}\0{found}".encode("utf-8", "surrogatepass")).hexdigest()
