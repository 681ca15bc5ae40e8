"""Rate limits as clients meet them: the headers, the 61st request, and four processes that share one Redis."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Serving
from tests.support.raw import Message, get, post
from tests.support.redis import redis_server
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running, sidecar, threaded

PAGE = f"Origin: {ORIGIN}"
DEFAULTS = [
    {"name": "ip-minute", "per": "ip", "limit": 60, "window": "1m"},
    {"name": "ip-hour", "per": "ip", "limit": 1000, "window": "1h"},
    {"name": "org-hour", "per": "organization", "limit": 1000, "window": "1h"},
]


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[Running, Serving]]:
    with Serving() as backend, threaded(tmp_path, backend.url, rate_limits=DEFAULTS) as running:
        yield running, backend


def number(reply: Message, name: bytes) -> int:
    return int(reply.get(name) or b"-1")


def test_the_sixty_first_request(limited: tuple[Running, Serving]):
    running, backend = limited
    with running.connect() as client:
        began = time.time()
        for used in range(1, 61):
            reply = client.send(post("/", b"{}", PAGE)).response()
            assert reply.status == 200
            assert number(reply, b"x-ratelimit-limit") == 60
            assert number(reply, b"x-ratelimit-remaining") == 60 - used
            assert number(reply, b"x-ratelimit-org-limit") == 1000
            assert number(reply, b"x-ratelimit-org-remaining") == 1000 - used
        refused = client.send(post("/", b"{}", PAGE)).response()
        check_refusal(refused, 429, "RATE_LIMIT_EXCEEDED")
        assert json.loads(refused.body)["error"] == "Too many requests"
        assert number(refused, b"x-ratelimit-remaining") == 0
        reset = dt.datetime.fromisoformat((refused.get(b"x-ratelimit-reset") or b"").decode())
        wait = number(refused, b"retry-after")
        assert 0 < wait <= 62  # never earlier than the window frees a place, rounded up
        assert began < reset.timestamp() <= began + 62 + (time.time() - began)
        assert wait >= reset.timestamp() - time.time() - 1
        assert (
            refused.get(b"ratelimit-policy")
            == b'"ip-minute";q=60;w=60, "ip-hour";q=1000;w=3600, "org-hour";q=1000;w=3600'
        )
        assert (refused.get(b"ratelimit") or b"").startswith(b'"ip-minute";r=0;t=')
        exposed = (refused.get(b"access-control-expose-headers") or b"").lower()
        assert all(name in exposed for name in (b"retry-after", b"x-ratelimit-remaining", b"ratelimit-policy"))
    assert len(backend.seen) == 60
    with running.connect("127.0.0.77") as another:
        assert another.send(get("/")).response().status == 200  # another client has a limit of its own
    line = running.logged(event="RATE_LIMIT_EXCEEDED")
    assert (line["status"], line["client_ip"]) == (429, "127.0.0.1")


def test_refused_requests_and_the_status_cost_nothing(limited: tuple[Running, Serving]):
    running, _ = limited
    with running.connect() as client:
        for _ in range(5):
            assert client.send(get("/", "Origin: https://evil.example")).response().status == 403
            status = client.send(get("/api/rate-limit/status", PAGE)).response()
            assert status.status == 200
        assert number(client.send(post("/", b"{}", PAGE)).response(), b"x-ratelimit-remaining") == 59


def admitted(running: Running, requests: int, source: str, together: threading.Barrier) -> list[int]:
    """Ask as fast as it goes, on two connections; return the statuses."""
    statuses: list[int] = []

    def ask() -> None:
        with running.connect(source) as client:
            together.wait()
            statuses.extend(client.send(post("/", b"{}")).response().status for _ in range(requests // 2))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_four_processes_on_one_redis_admit_exactly_the_limit(tmp_path: Path):
    limit = 100
    limits = [{"name": "ip-minute", "per": "ip", "limit": limit, "window": "1m"}]
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        backend = stack.enter_context(Serving())
        replicas = []
        for number_ in range(4):
            folder = tmp_path / str(number_)
            folder.mkdir()
            env = {"REDIS_URL": redis.url}
            replicas.append(stack.enter_context(sidecar(folder, backend.url, env, rate_limits=limits)))
        results: list[int] = []
        together = threading.Barrier(8)
        threads = [
            threading.Thread(target=lambda each=each: results.extend(admitted(each, 60, "127.0.0.88", together)))
            for each in replicas
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(set(results)) == [200, 429]
        assert len(results) == 240
        assert results.count(200) == limit
        assert len(backend.seen) == limit
        assert [each.metric("sidecar_store_up", store="redis") for each in replicas] == [1.0] * 4
        decided = [each.metric("sidecar_rate_limit_decisions_total", decision="allowed") for each in replicas]
        assert sum(decided) == limit
        assert sum(map(bool, decided)) > 1  # they took from the same hundred at the same time


def test_redis_that_dies_costs_no_request(tmp_path: Path):
    limits = [{"name": "ip-minute", "per": "ip", "limit": 100_000, "window": "1m"}]
    with (
        redis_server() as redis,
        Serving() as backend,
        threaded(tmp_path, backend.url, {"REDIS_URL": redis.url}, rate_limits=limits) as running,
        running.connect() as client,
    ):
        assert client.send(post("/", b"{}")).response().status == 200
        redis.kill()
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            assert client.send(post("/", b"{}")).response().status == 200
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2
        assert running.logged(event="STORE_DEGRADED")
        assert running.fetch("/readyz")[0] == 200
        redis.start()
        assert running.logged(event="STORE_RECOVERED")
        assert client.send(post("/", b"{}")).response().status == 200
