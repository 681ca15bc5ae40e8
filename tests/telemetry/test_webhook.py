"""Events that go to another system: what waits, what is tried again, when it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sidecar.secret import Secret
from sidecar.telemetry.webhook import LONGEST_PAUSE, PAUSE, QUEUED, Webhook
from sidecar.telemetry.webhook_target import NotTaken, Target
from sidecar.vocabulary import Event
from tests.support.clock import FakeClock
from tests.support.facts import event, served

URL = Secret("https://collector.example/in")


def target(**changes: Any) -> Target:
    fields: dict[str, Any] = {"url": URL, "form": "json", "events": None, "retry_for": 900.0, "secret": None}
    return Target(**(fields | changes))


class Receiver:
    """Takes bodies, or answers with these statuses first; waits by turning the clock."""

    def __init__(self, *failures: Exception, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.failures = list(failures)
        self.bodies: list[list[dict[str, Any]]] = []
        self.ids: list[str] = []
        self.waits: list[float] = []
        self.webhook = Webhook(target(), self.clock, self.send, self.wait)

    def send(self, _target: Target, body: bytes, headers: Mapping[str, str]) -> None:
        self.ids.append(headers["webhook-id"])
        if self.failures:
            raise self.failures.pop(0)
        self.bodies.append(json.loads(body))

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def record(self, *kinds: Event) -> None:
        for kind in kinds:
            self.webhook.record(event(kind))

    async def settled(self) -> None:
        """Let the webhook work until nothing waits."""
        self.webhook.start()
        await until(lambda: not self.webhook.waiting)
        await self.webhook.close()

    def names(self) -> list[str]:
        return [each["event"] for body in self.bodies for each in body]


async def until(happened: Callable[[], bool]) -> None:
    """Let the loop turn until what threads do has happened."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - a thread is waited for
            await asyncio.sleep(0.005)


BUSY = NotTaken(503)


async def test_what_happens_together_goes_together() -> None:
    receiver = Receiver()
    receiver.record(Event.ADMIN_ACTION, Event.CORS_BLOCKED, Event.SESSION_CREATED, Event.POLICY_RELOADED)
    receiver.webhook.served(served())
    await receiver.settled()
    assert receiver.bodies == [receiver.bodies[0]]
    assert receiver.names() == ["ADMIN_ACTION", "CORS_BLOCKED", "POLICY_RELOADED"]
    assert (receiver.webhook.delivered, receiver.webhook.lost) == (3, 0)


async def test_what_was_not_taken_comes_again_in_order_under_its_id() -> None:
    receiver = Receiver(BUSY, ConnectionRefusedError())
    receiver.record(*[Event.ADMIN_ACTION] * 250, Event.CORS_BLOCKED)
    await receiver.settled()
    assert receiver.names() == ["ADMIN_ACTION"] * 250 + ["CORS_BLOCKED"]
    assert [len(body) for body in receiver.bodies] == [100, 100, 51]
    first, second, third, *others = receiver.ids
    assert first == second == third
    assert len({third, *others}) == 3
    assert receiver.waits == [PAUSE, PAUSE, PAUSE * 2]


async def test_it_is_tried_again_within_the_bound_and_then_given_up() -> None:
    receiver = Receiver(*[BUSY] * 1000)
    began = receiver.clock.monotonic()
    receiver.record(Event.ADMIN_ACTION)
    await receiver.settled()
    assert receiver.bodies == []
    assert (receiver.webhook.delivered, receiver.webhook.lost) == (0, 1)
    assert 900.0 <= receiver.clock.monotonic() - began <= 900.0 + 2 * LONGEST_PAUSE
    assert max(receiver.waits) == LONGEST_PAUSE
    assert len(receiver.ids) < 30


async def test_a_body_that_would_never_be_taken_does_not_hold_up_the_next() -> None:
    receiver = Receiver(NotTaken(400))
    receiver.record(*[Event.ADMIN_ACTION] * 100, Event.IP_BANNED)
    await receiver.settled()
    assert receiver.names() == ["IP_BANNED"]
    assert (receiver.webhook.delivered, receiver.webhook.lost) == (1, 100)


async def test_a_receiver_may_ask_for_a_pause() -> None:
    receiver = Receiver(NotTaken(429, "30"), NotTaken(429, "86400"))
    receiver.record(Event.ADMIN_ACTION)
    await receiver.settled()
    assert receiver.waits == [PAUSE, 30.0, LONGEST_PAUSE]
    assert receiver.names() == ["ADMIN_ACTION"]


async def test_the_queue_is_bounded_and_the_oldest_go_first() -> None:
    receiver = Receiver(*[BUSY] * 2)
    receiver.record(*[Event.ADMIN_ACTION] * (QUEUED + 5))
    assert (receiver.webhook.waiting, receiver.webhook.lost) == (QUEUED, 5)
    await receiver.webhook.close()


async def test_the_end_delivers_what_waits() -> None:
    receiver = Receiver()
    receiver.record(*[Event.ADMIN_ACTION] * 150)
    await receiver.webhook.close()
    assert receiver.names() == ["ADMIN_ACTION"] * 150


async def test_the_end_does_not_wait_for_a_receiver_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver(*[BUSY] * 10)
    receiver.record(Event.ADMIN_ACTION)
    await receiver.webhook.close()
    assert len(receiver.ids) == 1
    assert "webhook: 1 events were not delivered before the end" in caplog.text


async def test_a_reload_may_switch_it_off_or_choose_otherwise() -> None:
    receiver = Receiver()
    receiver.record(Event.ADMIN_ACTION)
    receiver.webhook.use(None)
    receiver.record(Event.ADMIN_ACTION)
    assert receiver.webhook.waiting == 0
    receiver.webhook.use(target(events=frozenset({Event.IP_BANNED})))
    receiver.record(Event.ADMIN_ACTION, Event.IP_BANNED)
    await receiver.settled()
    assert receiver.names() == ["IP_BANNED"]


async def test_a_reload_may_bring_a_form_that_takes_one_event_at_once() -> None:
    receiver = Receiver(BUSY)
    receiver.record(*[Event.ADMIN_ACTION] * 3)
    with pytest.raises(NotTaken):
        await receiver.webhook._post_next()
    taken: list[bytes] = []
    receiver.webhook._send = lambda _target, body, _headers: taken.append(body)
    receiver.webhook.use(target(form="pagerduty", secret=Secret("k" * 32)))
    await receiver.webhook.close()
    assert [json.loads(body)["payload"]["class"] for body in taken] == ["ADMIN_ACTION"] * 3
