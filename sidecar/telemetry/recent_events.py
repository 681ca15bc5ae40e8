"""The latest events, kept in memory for the admin API and sent to its subscribers."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any, Final

from sidecar.events import SecurityEvent, Served
from sidecar.telemetry.log_record import TimestampFormatter, dump, event_fields
from sidecar.telemetry.request_outcome import as_event, is_processed_message
from sidecar.vocabulary import Event

Entry = tuple[int, SecurityEvent | Served]
LONGEST_PATH: Final = 1024
"""Characters of a path that are kept; a log line shows fewer."""

CHAT: Final = Event.CHAT_MESSAGE_PROCESSED.value


class RecentEvents:
    """An EventSink that remembers the last `per_event` facts of each kind.

    Each kind has a queue of its own, so that a flood of one kind does not displace the others.
    """

    def __init__(self, *, per_event: int = 100, most_watchers: int = 16, backlog: int = 256) -> None:
        self._kept: tuple[deque[Entry], ...] = tuple(deque(maxlen=per_event) for _ in Event)
        self._watchers: set[EventSubscription] = set()
        self._most_watchers = most_watchers
        self._backlog = backlog
        self._number = 0

    def record(self, event: SecurityEvent) -> None:
        """Keep an event and send it to the subscribers."""
        self._keep(event.event.value, event)

    def served(self, served: Served) -> None:
        """Keep the summary of a processed message; other requests are not kept."""
        # Kept as it came: the event is made when it is read.
        if served.inspected and is_processed_message(served):
            self._number += 1
            entry = (self._number, served)
            self._kept[CHAT].append(entry)
            for watcher in self._watchers:
                watcher.offer(entry)

    def _keep(self, kind: int, fact: SecurityEvent) -> None:
        self._number += 1
        if len(fact.path) > LONGEST_PATH:
            fact = replace(fact, path=fact.path[:LONGEST_PATH])
        entry = (self._number, fact)
        self._kept[kind].append(entry)
        for watcher in self._watchers:
            watcher.offer(entry)

    def latest(self, *, limit: int = 100, organization: str | None = None, after: int = 0) -> list[dict[str, Any]]:
        """Return up to `limit` newest events after a number, oldest first, as log lines with their `seq`.

        `organization` leaves only what concerns that one; None is all, the system's own facts included.
        """
        entries = [
            entry for kept in self._kept for entry in list(kept) if entry[0] > after and _is_about(entry, organization)
        ]
        entries.sort(key=lambda entry: entry[0])
        return [_shown(entry) for entry in entries[-limit:]] if limit > 0 else []

    def forget(self, kind: str, subject: str) -> int:
        """Drop what is about a `session` (its key), an `ip` (or its prefix) or an `organization`; return how many."""
        gone = 0
        for kept in self._kept:
            staying = [entry for entry in kept if not concerns(entry[1], kind, subject)]
            gone += len(kept) - len(staying)
            if len(staying) < len(kept):
                kept.clear()
                kept.extend(staying)
        return gone

    def watch(self, organization: str | None = None) -> EventSubscription | None:
        """Return a subscription for a coroutine of this loop, or None when too many watch already."""
        if len(self._watchers) >= self._most_watchers:
            return None
        watcher = EventSubscription(organization, self._backlog, self._forget)
        # A new set: `_keep` may be going through the old one in another thread.
        self._watchers = self._watchers | {watcher}
        return watcher

    def _forget(self, watcher: EventSubscription) -> None:
        self._watchers = self._watchers - {watcher}


class EventSubscription:
    """One subscription. When its reader is slow, the oldest events are left out and counted."""

    def __init__(self, organization: str | None, backlog: int, left: Callable[[EventSubscription], None]) -> None:
        self._organization = organization
        self._waiting: deque[Entry] = deque(maxlen=backlog)
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._missed = 0

    def offer(self, entry: Entry) -> None:
        """Take an event, from any thread. Never blocks."""
        if not _is_about(entry, self._organization):
            return
        waiting = self._waiting
        if len(waiting) == waiting.maxlen:
            self._missed += 1
        is_first = not waiting
        waiting.append(entry)
        if is_first:
            self._loop.call_soon_threadsafe(self._ready.set)

    async def next(self, timeout: float) -> tuple[list[dict[str, Any]], int]:  # noqa: ASYNC109  it bounds one wait
        """Return what came, oldest first (nothing after `timeout` seconds), and how many were left out."""
        try:
            await asyncio.wait_for(self._ready.wait(), timeout)
        except TimeoutError:
            return [], 0
        self._ready.clear()
        entries = []
        while self._waiting:
            entries.append(self._waiting.popleft())
        missed, self._missed = self._missed, 0
        return [_shown(entry) for entry in entries], missed

    def close(self) -> None:
        """End the subscription; more than once does no harm."""
        self._left(self)


def _is_about(entry: Entry, organization: str | None) -> bool:
    return organization is None or entry[1].organization == organization


def concerns(fact: SecurityEvent | Served, kind: str, subject: str) -> bool:
    """Return whether a fact is about a `session` (its key), an `ip` (or its prefix) or an `organization`."""
    if kind == "organization":
        return fact.organization == subject
    if kind == "session":
        return fact.session != "" and subject.startswith(fact.session)
    return kind == "ip" and _is_in(fact.client_ip, subject)


def _is_in(address: str, subject: str) -> bool:
    if address == subject:
        return True
    try:
        return ip_address(address) in ip_network(subject)
    except ValueError:
        return False


def _shown(entry: Entry) -> dict[str, Any]:
    number, fact = entry
    event = as_event(fact) if isinstance(fact, Served) else fact
    # Serialised like a log line, so that the console shows what the log contains.
    fields: dict[str, Any] = json.loads(dump(event_fields(event, TimestampFormatter()(event.at))))
    return {**fields, "seq": number}
