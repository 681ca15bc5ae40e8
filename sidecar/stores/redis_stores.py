"""Opens the shared stores, and runs their background task: heartbeat, recovery, exchange of bans."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from sidecar.clock import Clock
from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink
from sidecar.revoked import Revoked
from sidecar.secret import Secret
from sidecar.stores.failover import Circuit, FailoverRateStore
from sidecar.stores.failover_budgets import FailoverBudgets
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.memory_budgets import MemoryBudgets
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.redis_bans import RedisBanStore
from sidecar.stores.redis_budgets import RedisBudgets
from sidecar.stores.redis_cluster import ClusterConnection
from sidecar.stores.redis_connection import CONNECT, Command, RedisClient, RedisConnection
from sidecar.stores.redis_heartbeat import Heartbeat
from sidecar.stores.redis_rates import RedisRateStore
from sidecar.stores.redis_revocations import RedisRevocations
from sidecar.stores.redis_sessions import RedisSessionStore
from sidecar.stores.redis_urls import RedisAddress, connector, parse_redis_url
from sidecar.stores.redis_usage import RedisUsage

EVERY: Final = 0.6
"""Seconds between two rounds of the background, the probes of an open circuit included: what one replica says is
known to the others within a second."""

UNSTEADY: Final = 10.0
"""A server that fails within so many seconds of coming back is probed half as often each time, down to every 8 s."""

SLOWEST: Final = 8.0


class CircuitConnection:
    """A RedisClient that asks nothing while the circuit is open, and opens it when there is no answer."""

    def __init__(self, wire: RedisClient, circuit: Circuit) -> None:
        self._wire = wire
        self._circuit = circuit
        self.clustered = wire.clustered
        self.timeout = wire.timeout

    def submit(
        self, commands: Sequence[Command], wait: float | None = None, *, at_once: bool = False
    ) -> asyncio.Future[list[Any]]:
        """Send commands, or fail at once."""
        if not self._circuit.up:
            done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            done.set_exception(StoreUnavailable("Redis is not available"))
            return done
        done = self._wire.submit(commands, wait, at_once=at_once)
        done.add_done_callback(self._heed)
        return done

    async def close(self) -> None:
        """Close the connection."""
        await self._wire.close()

    def _heed(self, done: asyncio.Future[list[Any]]) -> None:
        if not done.cancelled() and isinstance(error := done.exception(), StoreUnavailable):
            self._circuit.trip(error)


class SharedStores:
    """The stores on one Redis, and what runs behind them.

    The rate limits have a connection of their own: nothing is before them in its queue.
    """

    def __init__(
        self,
        url: Secret,
        clock: Clock,
        events: EventSink,
        *,
        mirror: MemoryRateStore,
        budgets: MemoryBudgets,
        bans: MemoryBanStore,
        per_client: int,
        prefix: str,
        timeout: float,
        heard: Callable[[Revoked], None],
        hurry: Callable[[], None],
    ) -> None:
        target = parse_redis_url(url)
        self._clock = clock
        self.circuit = Circuit("redis", events, clock)
        self._fast, self._wire = _wire(target, timeout), _wire(target, timeout)
        self._primary = RedisRateStore(self._fast, prefix)
        self.rates = FailoverRateStore(self._primary, mirror, self.circuit, mirror.room)
        self._soon = hurry
        self.bans = RedisBanStore(self._wire, bans, prefix, self._hurry)
        self.revocations = RedisRevocations(self._wire, heard, prefix, self._hurry)
        self.budgets = FailoverBudgets(RedisBudgets(self._wire, prefix), budgets, self.circuit)
        self.sessions = RedisSessionStore(CircuitConnection(self._wire, self.circuit), per_client, prefix)
        self.usage = RedisUsage(CircuitConnection(self._wire, self.circuit), prefix)
        self._heart = Heartbeat(self._wire, secrets.token_hex(8), prefix)
        self._lost = False
        self._pause = EVERY
        self._returned = clock.monotonic() - UNSTEADY
        self.circuit.opened = self._probe_soon

    def use_timeout(self, seconds: float) -> None:
        """Take over how long a request may wait."""
        for wire in (self._fast, self._wire):
            wire.timeout.use(seconds)

    async def round(self) -> float:
        """Beat; settle when Redis is back or empty; exchange bans. Return seconds until the next round."""
        circuit = self.circuit
        was_up = circuit.up
        try:
            if not was_up:
                # Making a connection may take longer than a request waits; requests find it made.
                await asyncio.gather(*(wire.submit([("PING",)], CONNECT) for wire in (self._fast, self._wire)))
            # In one round trip: an idle sidecar does little else.
            pulse = await self._heart.beat([self.revocations.question, self.bans.question])
            circuit.replicas = pulse.replicas
            self._lost = self._lost or pulse.lost
            revoked, banned = (None, None) if self._lost else pulse.also
            if pulse.reset:
                self._primary.forget()
            if self._lost:
                self.revocations.begin_anew()
                await self.bans.tell_all(self._clock.now())
            await self.budgets.settle(self._clock.monotonic(), lost=self._lost)
            if self._lost or not circuit.up:
                await self.rates.settle(self._clock.monotonic, self._lost)
                self._lost = False
                if not was_up:
                    self._came_back()
            await self.revocations.exchange(revoked)
            await self.bans.exchange(self._clock.now(), banned)
        except StoreUnavailable as error:
            circuit.trip(error)
        except Exception as error:  # noqa: BLE001  # foreign data in Redis must not end the background for good
            circuit.trip(StoreUnavailable(f"Redis answers what it should not ({type(error).__name__})"))
        return EVERY if circuit.up else self._pause

    async def close(self) -> None:
        """Leave the list of live replicas, and close the connections."""
        try:
            if self.circuit.up:
                await self.revocations.exchange()
                await self.bans.exchange(self._clock.now())
                await self._heart.leave()
        except StoreUnavailable:
            pass  # It forgets a silent replica by itself.
        await self._fast.close()
        await self._wire.close()

    def _hurry(self) -> None:
        """Ask for the next round soon: something has to be told. A server that is away is probed in its own time."""
        if self.circuit.up:
            self._soon()

    def _probe_soon(self) -> None:
        """Look at once whether Redis is away: most failures are one late answer, and sessions are refused meanwhile.

        One that has just come back waits for the next round: a slow server must not hold requests again and again.
        """
        if self._clock.monotonic() - self._returned >= UNSTEADY:
            self._soon()

    def _came_back(self) -> None:
        """Note a return; one soon after another makes the next probe wait longer."""
        now = self._clock.monotonic()
        self._pause = min(self._pause * 2, SLOWEST) if now - self._returned < UNSTEADY else EVERY
        self._returned = now


def _wire(target: RedisAddress, timeout: float) -> RedisClient:
    return (
        ClusterConnection(target, timeout)
        if target.kind == "cluster"
        else RedisConnection(connector(target, max(CONNECT, timeout)), timeout)
    )
