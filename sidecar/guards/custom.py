"""Asks guards that others wrote, each isolated: what goes wrong in one refuses one request and is counted.

The event is GUARD_FAILED, with the guard's name, the kind of the error and the line that raised it; its text, which may
quote the message, is left out.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from sidecar.decision import KEEP, PASS, Decision, Inspection, Keep, Pass, Refuse
from sidecar.exchange import Exchange
from sidecar.extend import Block, Request, Verdict
from sidecar.messages.message_body import BodyProblem, MessageReader
from sidecar.vocabulary import Code, Event

T = TypeVar("T", Pass, Keep)
CODES: Final = {
    "CONTENT_BLOCKED": Code.CONTENT_BLOCKED,
    "FORBIDDEN": Code.FORBIDDEN,
    "AUTH_FAILED": Code.AUTH_FAILED,
}
LONGEST: Final = 200
"""Characters of a reason or a fact in the log."""
MOST_FACTS: Final = 16


class Checks(Protocol):
    """What is asked: a guard's `check`."""

    def check(self, request: Request) -> Verdict | Awaitable[Verdict]:
        """Return None to let the request pass, or why not."""
        ...


class _Isolated:
    """One guard with its name in the policy (`guards.NAME`) and its bound of time in seconds."""

    def __init__(self, name: str, guard: Checks, timeout: float) -> None:
        self.name = name
        self._guard = guard
        self._timeout = timeout

    def _ask(self, exchange: Exchange, texts: tuple[str, ...]) -> Refuse | Awaitable[Refuse | None] | None:
        try:
            said = self._guard.check(_request(exchange, texts))
        except Exception as error:  # noqa: BLE001 - of a program that is not ours
            return self._failed(error)
        return self._waited(said) if inspect.isawaitable(said) else self._refusal(said)

    async def _waited(self, said: Awaitable[Any]) -> Refuse | None:
        try:
            async with asyncio.timeout(self._timeout):
                return self._refusal(await said)
        except Exception as error:  # noqa: BLE001 - of a program that is not ours; TimeoutError too
            return self._failed(error)

    def _refusal(self, said: object) -> Refuse | None:
        if said is None:
            return None
        if not isinstance(said, Block) or said.code not in CODES:
            return self._failed(TypeError("neither a Block nor None"))
        facts = list((said.detail or {}).items())[:MOST_FACTS]
        detail = {str(key)[:LONGEST]: _fact(value) for key, value in facts}
        return Refuse(CODES[said.code], {**detail, "reason": str(said.reason)[:LONGEST]})

    def _failed(self, error: Exception) -> Refuse:
        detail = {"error": type(error).__name__, "at": _line(error)}
        return Refuse(Code.OVERLOADED, detail, event=Event.GUARD_FAILED)


class CustomHeadGuard(_Isolated):
    """A guard of stage `head`."""

    def check(self, exchange: Exchange) -> Decision | Awaitable[Decision]:
        """Refuse what the guard blocks; with 503 when it fails or takes too long."""
        return _either(self._ask(exchange, ()), PASS)


class CustomMessageGuard(_Isolated):
    """A guard of stage `message`. `reader` is that of the route."""

    def __init__(self, name: str, guard: Checks, timeout: float, reader: MessageReader) -> None:
        super().__init__(name, guard, timeout)
        self._reader = reader

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection | Awaitable[Inspection]:
        """Refuse what the guard blocks; with 503 when it fails or takes too long."""
        message = self._reader.read(exchange, body)
        # What cannot be read was refused, or let pass, by the guard of messages before this one.
        if message is None or isinstance(message, BodyProblem):
            return KEEP
        return _either(self._ask(exchange, tuple(text for _, text in message.texts)), KEEP)


def _either(said: Refuse | Awaitable[Refuse | None] | None, otherwise: T) -> T | Refuse | Awaitable[T | Refuse]:
    """Return the refusal, or what stands for going on."""
    if said is None:
        return otherwise
    return said if isinstance(said, Refuse) else _settled(said, otherwise)


async def _settled(waiting: Awaitable[Refuse | None], otherwise: T) -> T | Refuse:
    found = await waiting
    return otherwise if found is None else found


def _request(exchange: Exchange, texts: tuple[str, ...]) -> Request:
    head = exchange.head
    return Request(
        id=exchange.id,
        method=head.method,
        path=head.path,
        target=head.target.decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.index.items()},
        client_ip=exchange.client.address or exchange.peer,
        organization=exchange.organization,
        user=exchange.user,
        session=exchange.session_key,
        route=exchange.route,
        texts=texts,
    )


def _fact(value: object) -> str | int | float | bool:
    return value if isinstance(value, bool | int | float) else str(value)[:LONGEST]


def _line(error: Exception) -> str:
    """Return file and line of the innermost frame, without folders; "" when there is none."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
