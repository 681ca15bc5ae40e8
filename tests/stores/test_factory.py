"""The one call for the stores, in memory; and the circuit."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import ConfigError, StoreUnavailable
from sidecar.secret import Secret
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.factory import open_stores
from sidecar.stores.failover import Circuit
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder


async def test_without_a_url_everything_lives_here() -> None:
    recorder, clock = Recorder(), FakeClock()
    stores = open_stores(None, clock=clock, events=recorder)
    await stores.start()
    assert stores.states() == {"memory": True}
    assert stores.replicas() == 1
    session = Session(key_of("one"), "acme", clock.now(), clock.now(), "203.0.113.0/24")
    await stores.sessions.create(session, seal_of("one"), 60.0)
    clock.advance(61.0)
    await stores.clean_sessions()
    await stores.clean_sessions()
    assert [(event.event.name, event.detail) for event in recorder.events] == [("SESSION_CLEANUP", {"sessions": 1})]
    await stores.close()


async def test_a_round_that_fails_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[int] = []
    fourth = asyncio.Event()

    async def one() -> float:
        rounds.append(len(rounds))
        if rounds[-1] in (1, 2):
            raise RuntimeError("odd")
        if rounds[-1] == 3:
            fourth.set()
        return 0.01

    stores = open_stores(None, clock=FakeClock(), events=Recorder())
    stores._round = one
    await stores.start()
    async with asyncio.timeout(5):
        await fourth.wait()
    await stores.close()
    assert caplog.text.count("a round with the shared stores failed") == 1


def test_a_wrong_url_stops_the_start() -> None:
    with pytest.raises(ConfigError):
        open_stores(Secret("memcached://x"), clock=FakeClock(), events=Recorder())


class TestCircuit:
    def test_it_tells_of_each_change_once(self) -> None:
        recorder, clock = Recorder(), FakeClock()
        circuit = Circuit("redis", recorder, clock)
        assert not circuit.up
        circuit.close()
        assert circuit.up
        assert recorder.names() == []
        circuit.trip(StoreUnavailable("why"))
        circuit.trip(StoreUnavailable("again"))
        clock.advance(2.5)
        circuit.close()
        circuit.close()
        assert [event.detail for event in recorder.events] == [
            {"store": "redis", "why": "why"},
            {"store": "redis", "seconds": 2.5},
        ]
        assert recorder.names() == ["STORE_DEGRADED", "STORE_RECOVERED"]

    def test_a_store_that_is_away_at_the_start_is_told_too(self) -> None:
        recorder = Recorder()
        circuit = Circuit("redis", recorder, FakeClock())
        circuit.trip(StoreUnavailable("why"))
        circuit.trip(StoreUnavailable("why"))
        assert recorder.names() == ["STORE_DEGRADED"]
