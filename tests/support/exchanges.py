"""Requests as values, for guards that are asked without a socket."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from sidecar.events import SecurityEvent, Served
from sidecar.exchange import Client, Exchange
from sidecar.head import RequestHead

T = TypeVar("T")


def head(method: str = "GET", target: str = "/", **fields: str) -> RequestHead:
    """Build a head; `user_agent="x"` stands for `User-Agent: x`. A list value repeats the name."""
    lines = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()]
    if not any(name.lower() == b"host" for name, _ in lines):
        lines.insert(0, (b"Host", b"chat.example.com"))
    index: dict[bytes, bytes] = {}
    for name, value in lines:
        key = name.lower()
        index[key] = index[key] + b", " + value if key in index else value
    whole = [(name.lower(), name + b": " + value) for name, value in lines]
    return RequestHead(method, target.encode("latin-1"), target.partition("?")[0], 1, whole, index)


def exchange(
    method: str = "GET",
    target: str = "/",
    *,
    peer: str = "203.0.113.9",
    secure: bool = False,
    client: Client | None = None,
    now: float = 1_800_000_000.0,
    **fields: str,
) -> Exchange:
    """Build an exchange as it stands before the first guard, or with its client known."""
    made = Exchange("req-1", 1_000.0, now, head(method, target, **fields), peer, secure)
    if client is not None:
        made.client = client
    return made


class Recorder:
    """An EventSink that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[SecurityEvent] = []
        self.requests: list[Served] = []

    def record(self, event: SecurityEvent) -> None:
        self.events.append(event)

    def served(self, served: Served) -> None:
        self.requests.append(served)

    def names(self) -> list[str]:
        return [event.event.name for event in self.events]


async def said(decision: T | Awaitable[T]) -> T:
    """Return what a guard said, at once or later."""
    return await decision if isinstance(decision, Awaitable) else decision
