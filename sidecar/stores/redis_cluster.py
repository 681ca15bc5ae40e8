"""A RedisClient to a Redis Cluster, where each key lives on a node of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError

from sidecar.errors import StoreUnavailable
from sidecar.stores.redis_connection import CONNECT, QUEUE, TIMEOUT, Command, encoded, unavailable, words
from sidecar.stores.redis_urls import RedisAddress, patience
from sidecar.stores.response_timeout import ResponseTimeout

RAW: Final = ("HSCAN", "XRANGE", "XREVRANGE", "ZRANGE", "ZPOPMIN", "ZADD")
"""Commands whose answers redis-py would reshape: on one server we read them as they come."""

DISCOVERY: Final = 5.0
"""Seconds for drawing the map of the cluster, in the background."""


class ClusterConnection:
    """What one tick submits is one pipeline: one write to each node that has a key of it."""

    clustered = True

    def __init__(self, target: RedisAddress, timeout: float = TIMEOUT) -> None:
        self._target = target
        self.timeout = ResponseTimeout(timeout)
        self._client: RedisCluster | None = None
        self._discovery: asyncio.Task[RedisCluster] | None = None
        self._waiting: list[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waits = 0
        self._longest = 0.0  # what a caller of this tick wants to wait beyond the timeout

    def submit(
        self,
        commands: Sequence[Command],
        wait: float | None = None,
        *,
        at_once: bool = False,  # noqa: ARG002  # a pipeline is made at the end of a tick
    ) -> asyncio.Future[list[Any]]:
        """Send commands with all else of this tick, those that are to leave at once too."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Any]] = loop.create_future()
        if self._waits >= QUEUE:
            done.set_exception(StoreUnavailable("too much waits for Redis"))
            return done
        self._waits += 1
        done.add_done_callback(self._gone)
        if not self._waiting:
            loop.call_soon(self._flush)
        self._longest = max(self._longest, wait or 0.0)
        self._waiting.append((commands, done))
        return done

    async def close(self) -> None:
        """Cancel what runs, and close the connections."""
        running = [*self._tasks, *([self._discovery] if self._discovery is not None else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._hang_up()

    def _gone(self, _: object) -> None:
        self._waits -= 1

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        wait, self._longest = self._longest or self.timeout.current, 0.0
        task = asyncio.get_running_loop().create_task(self._run(batch, wait))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[tuple[Sequence[Command], asyncio.Future[list[Any]]]], wait: float) -> None:
        flat = [command for commands, _ in batch for command in commands]
        try:
            began = time.monotonic()
            async with asyncio.timeout(wait):
                answers = await self._send(flat, full=False)
                missed = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
                if missed:
                    again = await self._send([flat[place] for place in missed], full=True)
                    for place, answer in zip(missed, again, strict=True):
                        answers[place] = answer
            self.timeout.measured(time.monotonic() - began)
        except asyncio.CancelledError:
            answers = [StoreUnavailable("the store is closed")] * len(flat)
        except Exception as error:  # noqa: BLE001  # whatever it is, the waiting callers must get an answer
            self.timeout.missed()
            await self._hang_up()
            answers = [unavailable(error)] * len(flat)
        rest = iter(answers)
        for commands, done in batch:
            own = [next(rest) for _ in commands]
            broken = next((answer for answer in own if isinstance(answer, Exception)), None)
            if done.done():
                continue
            if broken is not None:
                done.set_exception(unavailable(broken))
            else:
                done.set_result(own)

    async def _send(self, commands: Sequence[Command], *, full: bool) -> list[Any]:
        pipeline = (self._client or await self._discovered()).pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*encoded(words(command, full)))
        return await pipeline.execute(raise_on_error=False, allow_redirections=True)

    async def _discovered(self) -> RedisCluster:
        """Wait for the map of the cluster. Drawing it may take longer than anyone here waits, and goes on then."""
        if self._discovery is None:
            self._discovery = asyncio.get_running_loop().create_task(self._discover())
            self._discovery.add_done_callback(self._drawn)
        return await asyncio.shield(self._discovery)

    async def _discover(self) -> RedisCluster:
        client = self._made()
        try:
            async with asyncio.timeout(DISCOVERY):
                await client.initialize()
        except BaseException:
            await client.aclose()
            raise
        return client

    def _drawn(self, discovery: asyncio.Task[RedisCluster]) -> None:
        self._discovery = None
        if not discovery.cancelled() and discovery.exception() is None:
            self._client = discovery.result()

    def _made(self) -> RedisCluster:
        target = self._target
        nodes = [ClusterNode(host, port) for host, port in target.hosts]
        tls = {"ssl": True, **target.options} if target.tls else {}
        client = RedisCluster(
            startup_nodes=nodes,
            **patience(max(CONNECT, self.timeout.most)),
            **target.credentials(),
            **tls,
        )
        for name in RAW:
            client.response_callbacks.pop(name, None)
        return client

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
