"""Phantom keys at the egress listener: whose call it is, and whether it may be made."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from sidecar.decision import PASS, Decision, Refuse
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Exchange
from sidecar.services import HandleRegistry
from sidecar.session import Session
from sidecar.vault.errors import HandleRefused
from sidecar.vault.models import Grant
from sidecar.vocabulary import Code, Event

KEY_HEADERS: Final = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where the clients of providers put keys. Whatever is there never goes on: one of them is replaced."""

MARK: Final = "phk_"
SOCKET_KEY: Final = b"openai-insecure-api-key."
"""How browsers give a key to a WebSocket, in its subprotocols; a backend can set headers."""

LONGEST: Final = 2048


class PhantomKeyGuard:
    """Set `exchange.organization` and the session by the handle that the backend holds; refuse all else.

    A real key in place of a handle is refused as well, so that a backend that still has one is noticed.
    `header` is a custom provider's own. Without a vault (`handles` is None) every call is refused.
    """

    name = "handle"

    def __init__(self, provider: str, header: bytes, handles: HandleRegistry | None) -> None:
        self._provider = provider
        self._headers = tuple(dict.fromkeys((header, *KEY_HEADERS) if header else KEY_HEADERS))
        self._handles = handles

    async def check(self, exchange: Exchange) -> Decision:
        """Resolve the handle of the request; refuse with 401 without a good one, with 503 without a database."""
        exchange.organization = ""  # no organization until the handle is resolved
        index = exchange.head.index
        if SOCKET_KEY in index.get(b"sec-websocket-protocol", b"").lower():
            return self._refusal("subprotocol")
        values = [index[name] for name in self._headers if name in index]
        token = next((found for found in map(handle_in, values) if found), "")
        if not token:
            return self._refusal("not a handle" if values else "missing")
        if self._handles is None:
            return Refuse(Code.CREDENTIAL_UNAVAILABLE, {"provider": self._provider})
        try:
            grant = await self._handles.resolve(token, self._provider, exchange.now)
        except HandleRefused as refused:
            return self._refusal(refused.cause)
        except StoreUnavailable:
            return Refuse(Code.CREDENTIAL_UNAVAILABLE, {"provider": self._provider, "reason": "store"})
        self._belongs(exchange, grant)
        return PASS

    def _belongs(self, exchange: Exchange, grant: Grant) -> None:
        exchange.organization = grant.organization
        exchange.session_key = grant.session
        exchange.handle = grant.id
        # Limits per session count calls without one under their handle: all come from one address.
        key = grant.session or grant.id or f"organization:{grant.organization}"
        exchange.session = Session(key, grant.organization, exchange.now, exchange.now, "")

    def _refusal(self, reason: str) -> Refuse:
        detail = {"reason": reason, "provider": self._provider}
        return Refuse(Code.AUTH_FAILED, detail, event=Event.HANDLE_REFUSED)


def handle_in(value: bytes) -> str:
    """Return the handle in a header's value, or nothing: alone, after Bearer, or in either half of Basic."""
    if len(value) > LONGEST:
        return ""
    scheme, _, rest = value.partition(b" ")
    text = value if not rest else rest.strip()
    if rest and scheme.lower() == b"basic":
        try:
            halves = base64.b64decode(text, validate=True).split(b":")
        except binascii.Error:
            return ""
        text = next((half for half in halves if half.startswith(MARK.encode())), b"")
    elif rest and scheme.lower() != b"bearer":
        return ""
    found = text.decode("latin-1")
    return found if found.startswith(MARK) else ""
