"""RecentEvents events: bounded, per kind, per organization; watchers that are slow."""

from __future__ import annotations

import asyncio
import threading

from sidecar.telemetry.recent_events import RecentEvents
from sidecar.vocabulary import Event
from tests.support.facts import event, served


def numbers(shown):
    return [line["seq"] for line in shown]


def test_a_flood_of_one_kind_leaves_the_others_alone():
    recent = RecentEvents(per_event=3)
    recent.record(event(Event.IP_BANNED))
    for _ in range(50):
        recent.record(event(Event.RATE_LIMIT_EXCEEDED))
    assert numbers(recent.latest()) == [1, 49, 50, 51]
    assert recent.latest()[0]["event"] == "IP_BANNED"


def test_only_messages_among_finished_requests_are_events():
    recent = RecentEvents()
    recent.served(served())
    recent.served(served(inspected=True, status=502))
    recent.served(served(inspected=True))
    (shown,) = recent.latest()
    assert (shown["event"], shown["category"], shown["detail"]["sent"]) == ("CHAT_MESSAGE_PROCESSED", "SECURITY", 420)


def test_the_newest_come_last_and_after_a_number():
    recent = RecentEvents()
    for kind in (Event.AUTH_FAILED, Event.CORS_BLOCKED, Event.AUTH_FAILED, Event.IP_BLOCKED):
        recent.record(event(kind))
    assert numbers(recent.latest(limit=2)) == [3, 4]
    assert numbers(recent.latest(after=1)) == [2, 3, 4]
    assert recent.latest(limit=0) == []


def test_an_organization_sees_itself_only():
    recent = RecentEvents()
    recent.record(event(organization="acme"))
    recent.record(event(organization="other"))
    recent.record(event(Event.POLICY_RELOADED, organization=""))
    assert numbers(recent.latest(organization="acme")) == [1]
    assert numbers(recent.latest()) == [1, 2, 3]


async def test_a_watcher_gets_what_comes_of_its_organization():
    recent = RecentEvents()
    watcher = recent.watch("acme")
    recent.record(event(organization="other"))
    recent.record(event(organization="acme"))
    assert [(numbers(shown), missed) for shown, missed in [await watcher.next(1.0)]] == [([2], 0)]
    assert await watcher.next(0.01) == ([], 0)
    watcher.close()
    recent.record(event(organization="acme"))
    assert await watcher.next(0.01) == ([], 0)


async def test_a_slow_watcher_misses_the_oldest_and_is_told_how_many():
    recent = RecentEvents(backlog=4)
    watcher = recent.watch()
    for _ in range(10):
        recent.record(event())
    shown, missed = await watcher.next(1.0)
    assert (numbers(shown), missed) == ([7, 8, 9, 10], 6)


async def test_there_is_a_bound_to_watchers():
    recent = RecentEvents(most_watchers=2)
    first, second = recent.watch(), recent.watch()
    assert recent.watch() is None
    first.close()
    first.close()
    assert recent.watch() is not None
    second.close()


async def test_an_event_from_another_thread_wakes_a_watcher():
    recent = RecentEvents()
    watcher = recent.watch()
    waiting = asyncio.create_task(watcher.next(5.0))
    await asyncio.sleep(0)
    thread = threading.Thread(target=recent.record, args=(event(),))
    thread.start()
    shown, _ = await waiting
    thread.join()
    assert numbers(shown) == [1]
