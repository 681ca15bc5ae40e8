"""Budgets over two sidecars that share one real Redis: exact with 200 requests in flight, and after a kill -9."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.endless_model import EndlessModel, endless_model
from tests.support.processes import free_port
from tests.support.redis import RedisServer, redis_server
from tests.support.sidecar import Running, policy_text, sidecar, started, until

CHAT = {"name": "chat", "match": {"path": "/v1/chat/completions", "methods": ["POST"]}, "protocol": "openai"}
LIMIT = 100_000
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 977}).encode()
"""1000 tokens: 977 of output, and 23 of input by size."""
USED = 9 + 60
SECTIONS: dict[str, Any] = {
    "routes": [CHAT],
    "budgets": [{"name": "daily", "per": "organization", "limit": f"{LIMIT} tokens"}],
    "stores": {"redis": {"timeout": "5s"}},  # a test machine may stand still for longer than a request should wait
}
LASTS = 5.0
PROGRAM = f"""
import sys
import sidecar.guards.budgets.spend
from sidecar.__main__ import main
sidecar.guards.budgets.spend.LASTS = {LASTS}
sys.exit(main(sys.argv[4:]))
"""
SHORT_HOLDS = (sys.executable, "-c", PROGRAM)
"""Runs the command `sidecar` that follows, with holds of five seconds in place of thirty."""
Pair = tuple[RedisServer, EndlessModel, Running, Running]


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        model = stack.enter_context(endless_model(most=60))
        one, other = (
            stack.enter_context(sidecar(tmp_path_factory.mktemp(name), model.url, {"REDIS_URL": redis.url}, **SECTIONS))
            for name in ("one", "other")
        )
        yield redis, model, one, other


def begin(front: Running) -> socket.socket:
    asked = socket.create_connection(("127.0.0.1", front.public), timeout=60)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    asked.sendall(head.encode() + BODY)
    return asked


def status(asked: socket.socket) -> int:
    with asked, asked.makefile("rb") as answer:
        return int(answer.read().split(b" ", 2)[1])


def flood(fronts: tuple[Running, Running], model: EndlessModel, requests: int) -> Counter[int]:
    """Send that many requests at once, half to each, which no answer ends before all have been decided."""
    model.go_on.clear()
    model.made.clear()
    with ThreadPoolExecutor(256) as threads:
        asked = list(threads.map(lambda number: begin(fronts[number % 2]), range(requests)))
        answers = [threads.submit(status, each) for each in asked]
        until(lambda: sum(answer.done() for answer in answers) + len(model.made) == requests, "a decision on each", 60)
        model.go_on.set()
        return Counter(answer.result(60) for answer in answers)


def test_exactly_the_budget_and_the_rest_given_back(pair: Pair) -> None:
    redis, model, *fronts = pair
    assert flood((fronts[0], fronts[1]), model, 200) == {200: 100, 429: 100}
    until(lambda: held(redis) == "0", "the end of all reservations")
    assert spent(redis) == str(100 * USED)
    admitted = (LIMIT - 100 * USED) // 1000
    assert flood((fronts[0], fronts[1]), model, 200) == {200: admitted, 429: 200 - admitted}
    until(lambda: spent(redis) == str((100 + admitted) * USED), "the settlement of all")
    for front in fronts:
        assert front.metric("sidecar_store_up", store="redis") == 1.0


def test_what_a_killed_replica_held_is_free_again(pair: Pair, tmp_path: Path) -> None:
    redis, model, _, other = pair
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text(model.url, tmp_path, free_port(), free_port(), **SECTIONS))
    with started(file, tmp_path, {"REDIS_URL": redis.url}, before=SHORT_HOLDS) as one:
        kill_with_holds(redis, model, one, other)


def kill_with_holds(redis: RedisServer, model: EndlessModel, one: Running, other: Running) -> None:
    model.go_on.clear()
    asked = [begin(one) for _ in range(100)]
    until(lambda: len(model.made) == 100, "all at the backend", 60)
    assert status(begin(other)) == 429
    assert one.process is not None
    killed = time.monotonic()
    os.kill(one.process.pid, signal.SIGKILL)
    model.go_on.set()
    until(lambda: status(begin(other)) == 200, "the first of what it held", LASTS + 5)
    assert LASTS - 4 < time.monotonic() - killed < LASTS + 2
    until(lambda: status(begin(other)) == 200 and held(redis) == "0", "the rest of what it held", 10)
    assert int(spent(redis)) % USED == 0, "what the killed one used is not known"
    for each in asked:
        each.close()


def account(redis: RedisServer) -> str:
    (name,) = (name for name in redis.cli("KEYS", "sidecar:b:*").split() if not name.endswith(":holds"))
    return name


def held(redis: RedisServer) -> str:
    return redis.cli("HGET", account(redis), "held")


def spent(redis: RedisServer) -> str:
    return redis.cli("HGET", account(redis), "spent")
