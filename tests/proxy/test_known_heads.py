"""Heads that come again: which are kept, for how long, and within which bound."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.exchange import Exchange
from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.policy.policy import Policy
from sidecar.proxy import known_heads
from sidecar.proxy.known_heads import KnownHead, KnownHeads
from sidecar.proxy.strict_rules import Malformed
from tests.support.policies import BASE, read
from tests.support.raw import get, post


class Loop(asyncio.AbstractEventLoop):
    """Keeps the timers, which tests run."""

    def __init__(self) -> None:
        self.timers: list[Callable[[], object]] = []

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        assert delay == known_heads.GENERATION
        self.timers.append(callback)

    def pass_a_generation(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            timer()


def policy_of(origin: str) -> Policy:
    text = BASE + f"cors: {{ allowed_origins: [{origin}] }}\n"
    return compile_policy(read(text), isolated_services()).public


class Reader:
    """Reads heads as a listener does."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.heads = KnownHeads(self.loop)
        self.policy = policy_of("https://app.example")

    def read(self, raw: bytes, peer: str = "192.0.2.1", *, secure: bool = False) -> KnownHead | None:
        read = self.heads.read(raw, self.policy, peer, secure)
        if read.key is not None:
            route = self.policy.routes.find(read.head.method, read.head.path)
            assert route is not None
            self.heads.keep(read, Exchange("id", 0.0, 0.0, read.head, peer, secure), route, reusable=True)
        return read.known

    def times(self, raw: bytes, times: int) -> list[bool]:
        return [self.read(raw) is not None for _ in range(times)]


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_a_head_is_known_from_the_third_time_on(reader: Reader) -> None:
    assert reader.times(get("/"), 4) == [False, False, True, True]


def test_the_digits_of_its_length_make_no_difference(reader: Reader) -> None:
    heads = [post("/a", b"x" * size).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for size in (1, 20, 300, 0)]
    assert [reader.read(head) is not None for head in heads] == [False, False, True, True]


@pytest.mark.parametrize("other", [{"peer": "192.0.2.2"}, {"secure": True}], ids=["peer", "scheme"])
def test_another_peer_or_scheme_is_another_head(reader: Reader, other: dict[str, Any]) -> None:
    reader.times(get("/"), 3)
    assert reader.read(get("/"), **other) is None


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer x", "X-API-Key: x", "X-Request-ID: x", "Origin: https://evil.example",
        "X-Forwarded-For: 198.51.100.7",
    ],
)  # fmt: skip
def test_heads_with_keys_and_those_that_guards_look_at_each_time_are_not_kept(reader: Reader, line: str) -> None:
    assert reader.times(get("/", line), 4) == [False] * 4


def test_a_name_that_is_there_twice_is_read_each_time(reader: Reader) -> None:
    assert reader.times(get("/", "X-A: 1", "X-A: 2"), 4) == [False] * 4


def test_a_new_policy_begins_without_heads(reader: Reader) -> None:
    reader.times(get("/"), 3)
    reader.policy = policy_of("https://other.example")
    assert reader.times(get("/"), 3) == [False, False, True]


def test_what_is_not_used_goes_after_two_generations(reader: Reader) -> None:
    reader.times(get("/"), 3)
    reader.loop.pass_a_generation()
    assert reader.read(get("/")) is not None
    reader.loop.pass_a_generation()
    reader.loop.pass_a_generation()
    assert reader.read(get("/")) is None
    for _ in range(3):
        reader.loop.pass_a_generation()
    assert reader.loop.timers == []


def test_a_head_above_the_policy_s_bound_is_refused_each_time(reader: Reader) -> None:
    raw = get("/", "X-A: " + "a" * 40_000)
    for _ in range(4):
        with pytest.raises(Malformed):
            reader.read(raw)


def test_clients_cannot_fill_the_memory(reader: Reader) -> None:
    tracemalloc.start()
    try:
        for number in range(12_000):
            raw = get("/", f"X-A: {number} {'a' * 900}", *(f"X-{name}: {number}" for name in "bcdefghijk"))
            for _ in range(2):
                reader.read(raw)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2.4 * known_heads.MOST_BYTES


def test_more_heads_than_fit_do_not_drive_each_other_out(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its turn, all of them would have gone by the time that they come again."""
    monkeypatch.setattr(known_heads, "MOST_BYTES", 64 * 1024)
    heads = [get("/", f"X-A: {number}", "X-B: " + "b" * 500) for number in range(200)]
    for _ in range(3):
        known = [reader.read(head) is not None for head in heads]
    assert 20 < sum(known) < 60
    assert known[:20] == [True] * 20
    assert reader.heads.read(heads[-1], reader.policy, "192.0.2.1", False).key is None, "nothing is worked out for it"
    reader.loop.pass_a_generation()
    assert [reader.read(head) is not None for head in heads] == known, "those that are used stay"
    reader.loop.pass_a_generation()
    reader.loop.pass_a_generation()
    assert reader.times(heads[-1], 3)[-1], "there is room again"
