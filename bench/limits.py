"""What a check of three limits costs: memory, Redis, both behind failover, and `limits`' moving window.

    python bench/limits.py [--checks 4000] [--rounds 5] [--json]

CPU is this process' alone (Redis runs beside it). Rounds are interleaved, and the minimum stands, because
a shared machine has slow moments. `limits` needs a call for each limit, and one more for what remains.
"""

# ruff: noqa: E402  # the path is set before our own modules are found
from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

# In place of this folder, where `limits` would be this file: the project's root.
sys.path[0] = str(Path(__file__).parent.parent)

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from sidecar.clock import SystemClock
from sidecar.limit import Ask, Limit, Per
from sidecar.secret import Secret
from sidecar.stores.factory import open_stores
from sidecar.stores.interfaces import RateStore
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.redis_connection import RedisConnection
from sidecar.stores.redis_rates import RedisRateStore
from sidecar.stores.redis_urls import connector, parse_redis_url
from tests.support.exchanges import Recorder
from tests.support.redis import redis_server

LIMITS = (
    Limit("ip-minute", Per.IP, 100_000, 60.0),
    Limit("ip-hour", Per.IP, 1_000_000, 3600.0),
    Limit("org-hour", Per.ORGANIZATION, 1_000_000, 3600.0),
)
CONCURRENT = (1, 32, 200)
Check = Callable[[int], Awaitable[None]]


def ours(store: RateStore) -> Check:
    """Ask as the guard does."""
    asks = [
        tuple(Ask(limit, f"203.0.113.{n}" if limit.per == "ip" else "acme") for limit in LIMITS) for n in range(256)
    ]

    async def check(client: int) -> None:
        takes = store.take(asks[client], time.monotonic())
        if not isinstance(takes, tuple):
            takes = await takes
        assert takes[0].allowed

    return check


def theirs(storage: MemoryStorage | RedisStorage) -> Check:
    """Ask `limits` the same three questions, and what remains for the headers."""
    limiter = MovingWindowRateLimiter(storage)
    items = (
        (RateLimitItemPerMinute(100_000), True),
        (RateLimitItemPerHour(1_000_000), True),
        (RateLimitItemPerHour(1_000_001), False),
    )

    async def check(client: int) -> None:
        for item, own in items:
            assert await limiter.hit(item, f"203.0.113.{client}" if own else "acme")
        await limiter.get_window_stats(items[0][0], f"203.0.113.{client}")

    return check


async def measure(check: Check, concurrent: int, checks: int) -> tuple[float, float, float]:
    """Return microseconds of CPU a check, checks a second, and the 99th percentile of waits in milliseconds."""
    each = max(1, checks // concurrent)
    waits: list[float] = []

    async def client(number: int) -> None:
        for _ in range(each):
            began = time.perf_counter()
            await check(number)
            waits.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client(number) for number in range(concurrent)))
    cpu, lasted = time.process_time() - cpu, time.perf_counter() - began
    total = each * concurrent
    return cpu / total * 1e6, total / lasted, sorted(waits)[int(total * 0.99)] * 1e3


def bare(checks: int) -> float:
    """Return microseconds of CPU of one `take` in memory, without the coroutines around it."""
    store = MemoryRateStore()
    asks = [
        tuple(Ask(limit, f"203.0.113.{n}" if limit.per == "ip" else "acme") for limit in LIMITS) for n in range(256)
    ]
    cpu = time.process_time()
    for number in range(checks):
        store.take(asks[number % 256], time.monotonic())
    return (time.process_time() - cpu) / checks * 1e6


async def run(checks: int, rounds: int) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Measure everything `rounds` times; keep the least CPU, the most checks, the least p99."""
    with redis_server() as server, redis_server() as other:
        line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
        stores = open_stores(Secret(server.url), clock=SystemClock(), events=Recorder(), timeout=5.0)
        await stores.start()
        peers = RedisStorage(f"async+{other.url}", implementation="redispy")
        subjects = {
            "memory": ours(MemoryRateStore()),
            "redis": ours(RedisRateStore(line, "bench")),
            "redis+failover": ours(stores.rates),
            "limits, memory": theirs(MemoryStorage()),
            "limits, redis": theirs(peers),
        }
        best: dict[str, dict[int, tuple[float, float, float]]] = {name: {} for name in subjects}
        for _ in range(rounds):
            for name, check in subjects.items():
                for concurrent in CONCURRENT:
                    if name == "limits, redis" and concurrent > 100:
                        continue  # redis-py's pool raises at its 101st connection
                    few = checks // 10 if name.startswith("limits") else checks
                    cpu, speed, wait = await measure(check, concurrent, few)
                    old = best[name].get(concurrent, (cpu, speed, wait))
                    best[name][concurrent] = (min(cpu, old[0]), max(speed, old[1]), min(wait, old[2]))
        await stores.close()
        await line.close()
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    alone = min(bare(20_000) for _ in range(arguments.rounds))
    best = asyncio.run(run(arguments.checks, arguments.rounds))
    if arguments.json:
        print(json.dumps({"memory_take_us": alone, "checks": best}))
        return
    print(f"one take of three limits in memory: {alone:.2f} us\n")
    print(f"{'store':16} {'concurrent':>10} {'CPU us/check':>13} {'checks/s':>10} {'p99 ms':>8}")
    for name, figures in best.items():
        for concurrent, (cpu, speed, wait) in figures.items():
            print(f"{name:16} {concurrent:10} {cpu:13.1f} {speed:10.0f} {wait:8.2f}")


if __name__ == "__main__":
    main()
