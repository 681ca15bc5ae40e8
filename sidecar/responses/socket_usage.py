"""Tokens that a provider reports in messages of a WebSocket, as the realtime API of OpenAI does for each response."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

import orjson

from sidecar.exchange import Exchange, TokensUsed
from sidecar.responses.interfaces import SocketMessageFilter
from sidecar.responses.token_usage import ReportedUsage, UsageCounter

LONGEST: Final = 256 * 1024
"""Bytes of a message that is read; a longer one is audio."""
MAX_MODEL: Final = 200
_HINT: Final = b'"usage"'


class SocketUsage:
    """Counts what the messages of a socket from the backend report; they pass on to a further filter, if there is one.

    Each report is of one response, so the reports of a socket are summed.
    """

    __slots__ = ("_counter", "_exchange", "_inner", "_model")

    def __init__(self, exchange: Exchange, counter: UsageCounter, inner: SocketMessageFilter | None) -> None:
        self._exchange = exchange
        self._counter = counter
        self._inner = inner
        self._model = _asked_for(exchange.head.target)

    def take(self, message: bytes, *, binary: bool) -> list[tuple[bytes, bool]]:
        """Return the messages that may be sent now, in order, each with whether it is binary."""
        if _HINT in message and len(message) <= LONGEST:
            self._read(message)
        return self._inner.take(message, binary=binary) if self._inner is not None else [(message, binary)]

    def rest(self) -> list[tuple[bytes, bool]]:
        """Return the messages that wait; what comes later is still joined with them."""
        return self._inner.rest() if self._inner is not None else []

    def control(self, payload: bytes) -> bytes:
        """Return the payload of a ping or pong as the client may see it."""
        return self._inner.control(payload) if self._inner is not None else payload

    def close_reason(self, reason: bytes) -> bytes:
        """Return the reason of a close frame as the client may see it."""
        return self._inner.close_reason(reason) if self._inner is not None else reason

    def _read(self, message: bytes) -> None:
        told = ReportedUsage()
        try:
            told.learn(orjson.loads(message))
        except orjson.JSONDecodeError:
            return
        told.model = told.model or self._model
        used = self._counter.count(self._exchange.organization, told)
        if used is not None:
            self._exchange.usage = _sum(self._exchange.usage, used)


def _asked_for(target: bytes) -> str:
    """Return the model that the query of the upgrade names, as in `/v1/realtime?model=gpt-realtime`."""
    for pair in target.partition(b"?")[2].split(b"&"):
        if pair.startswith(b"model="):
            return unquote_to_bytes(pair[6:]).decode("utf-8", "replace")[:MAX_MODEL]
    return ""


def _sum(before: TokensUsed | None, used: TokensUsed) -> TokensUsed:
    if before is None:
        return used
    cost = used.cost if before.cost is None else before.cost + (used.cost or 0)
    return TokensUsed(used.model, before.given + used.given, before.made + used.made, cost, before.estimated)
