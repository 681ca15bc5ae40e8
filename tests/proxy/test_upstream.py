"""Pools over reloads: what no policy names any more is closed, and nothing is forgotten while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.policy.policy import BackendTarget
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.upstream import Pools


def target(port: int) -> BackendTarget:
    return BackendTarget("127.0.0.1", port, None, "127.0.0.1", b"127.0.0.1", True, 1, 1, 1, 4, True)


async def opened(pools: Pools, of: BackendTarget) -> BackendConnection:
    pool = pools.pool(of)
    return pool.idle(replayable=True) or await pool.open()


def run(work: Callable[[Pools, int], object]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        peers: list[asyncio.Transport] = []

        class Peer(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                peers.append(transport)  # type: ignore[arg-type]

        server = await loop.create_server(Peer, "127.0.0.1", 0)
        pools = Pools(loop)
        try:
            await work(pools, server.sockets[0].getsockname()[1])  # type: ignore[misc]
        finally:
            pools.close()
            server.close()
            for _ in range(3):  # what was opened last may have to be accepted still, and then to be closed
                await asyncio.sleep(0)
                for peer in peers:
                    peer.abort()

    asyncio.run(main())


def test_an_equal_target_keeps_the_connections():
    async def work(pools: Pools, port: int) -> None:
        old, new = target(port), target(port)
        wire = await opened(pools, old)
        pools.pool(old).release(wire, clean=True)
        pools.keep({new})
        assert await opened(pools, new) is wire
        wire.abort()

    run(work)


def test_a_connection_in_use_is_closed_when_its_pool_was():
    async def work(pools: Pools, port: int) -> None:
        old = target(port)
        wire, pool = await opened(pools, old), pools.pool(old)
        pools.keep(set())
        pool.release(wire, clean=True)
        await asyncio.sleep(0)
        assert wire.left

    run(work)


def test_two_targets_of_one_server_leave_no_connection_behind():
    async def work(pools: Pools, port: int) -> None:
        one, other = target(port), target(port)
        wires = [await opened(pools, each) for each in (one, other)]
        for each, wire in zip((one, other), wires, strict=True):
            pools.pool(each).release(wire, clean=True)
        assert pools.pool(one) is pools.pool(other)
        pools.keep({target(port)})
        await asyncio.sleep(0)
        assert [wire.left for wire in wires] == [False, False]
        pools.keep(set())
        await asyncio.sleep(0)
        assert [wire.left for wire in wires] == [True, True]

    run(work)
