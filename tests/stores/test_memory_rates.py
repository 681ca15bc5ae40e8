"""Windows in memory: what is particular to them (the algorithm is tested with Redis' in test_rates.py)."""

from __future__ import annotations

import sys

import pytest

from sidecar.limit import Ask, Limit, Per, Take
from sidecar.stores.memory_rates import MemoryRateStore

MINUTE = Limit("ip-minute", Per.IP, 3, 60.0)
HOUR = Limit("ip-hour", Per.IP, 5, 3600.0)


def asks(subject: str, *limits: Limit) -> tuple[Ask, ...]:
    return tuple(Ask(limit, subject) for limit in limits or (MINUTE,))


def spend(store: MemoryRateStore, subject: str, now: float, times: int, *limits: Limit) -> list[bool]:
    return [all(take.allowed for take in store.take(asks(subject, *limits), now)) for _ in range(times)]


def test_whole_answers() -> None:
    store = MemoryRateStore()
    first = store.take(asks("a", MINUTE, HOUR), 6000.5)
    assert first == (
        Take(True, 2, 0.0, pytest.approx(60.5, abs=1e-3)),
        Take(True, 4, 0.0, pytest.approx(3659.5, abs=1e-3)),
    )
    store.take(asks("a", MINUTE, HOUR), 6001.5)
    assert store.take(asks("a", MINUTE, HOUR), 6001.5)[0] == Take(
        True, 0, pytest.approx(59.5, abs=1e-3), pytest.approx(60.5, abs=1e-3)
    )
    assert store.take(asks("a", MINUTE, HOUR), 6031.5) == (
        Take(False, 0, pytest.approx(29.5, abs=1e-3), pytest.approx(30.5, abs=1e-3)),
        Take(True, 2, 0.0, pytest.approx(3628.5, abs=1e-3)),
    )


class TestAtTheBound:
    def test_no_counted_client_loses_its_window(self) -> None:
        store = MemoryRateStore(max_keys=10)
        assert spend(store, "limited", 0.0, 4) == [True, True, True, False]
        for number in range(5000):
            store.take(asks(f"crowd-{number}"), 1.0)
        assert spend(store, "limited", 2.0, 1) == [False]
        assert len(store) <= 10 + 1024

    def test_a_new_client_never_gets_more_than_the_limit(self) -> None:
        store = MemoryRateStore(max_keys=1)
        spend(store, "known", 0.0, 1)
        assert sum(spend(store, "stranger", 1.0, 10)) == 3

    def test_what_a_new_client_spent_counts_once_it_has_a_window(self) -> None:
        store = MemoryRateStore(max_keys=1)
        spend(store, "known", 0.0, 1)
        assert sum(spend(store, "stranger", 50.0, 2)) == 2
        assert sum(spend(store, "stranger", 70.0, 10)) == 1, "the window of `known` is over by now"

    def test_new_clients_share_by_cell_only(self) -> None:
        store = MemoryRateStore(max_keys=1)
        spend(store, "known", 0.0, 1)
        passed = [all(t.allowed for t in store.take(asks(f"s{number}"), 1.0)) for number in range(500)]
        assert sum(passed) > 480

    async def test_a_full_store_is_looked_through_once_a_bucket_and_whenever_a_window_is_given_up(self) -> None:
        store = MemoryRateStore(max_keys=1)
        spend(store, "known", 0.0, 1)
        spend(store, "second", 1.0, 1)
        (table,) = store._tables.values()
        assert store._full_until == table.until > 1.0
        assert await store.reset("ip", "known") == 1
        spend(store, "third", 1.0, 1)
        assert list(table.rows) == ["third"]

    def test_expired_windows_make_room(self) -> None:
        store = MemoryRateStore(max_keys=100)
        for number in range(1000):
            store.take(asks(f"{number}"), number * 10.0)
        assert len(store) < 20


def test_a_window_is_small_whatever_the_limit() -> None:
    store, limit = MemoryRateStore(), Limit("big", Per.IP, 1_000_000, 60.0)
    for second in range(300):
        spend(store, "busy", float(second), 100, limit)
    (row,) = (table.rows["busy"] for table in store._tables.values())
    assert len(row) <= 1 + 2 * 61
    assert sys.getsizeof(row) < 2000


def test_cleanup_forgets_what_is_over_and_the_limits_that_are_gone() -> None:
    store = MemoryRateStore()
    for number in range(50):
        spend(store, str(number), 0.0, 1, MINUTE, HOUR)
    assert store.cleanup(100.0, most=20) == 20
    assert store.cleanup(100.0) == 30
    assert store.cleanup(4000.0) == 50
    assert len(store) == 0
    assert not store._tables
    assert not store._known


def test_a_reload_keeps_the_windows_of_a_limit_whose_number_changes() -> None:
    store = MemoryRateStore()
    assert spend(store, "a", 0.0, 3) == [True] * 3
    raised = Limit("ip-minute", Per.IP, 4, 60.0)
    assert spend(store, "a", 1.5, 2, raised) == [True, False]
    lowered = Limit("ip-minute", Per.IP, 1, 60.0)
    (take,) = store.take(asks("a", lowered), 2.0)
    assert take == Take(False, 0, pytest.approx(60.0, abs=1e-3), pytest.approx(60.0, abs=1e-3))


async def test_what_was_spent_can_be_told_to_another_store() -> None:
    store = MemoryRateStore()
    spend(store, "a", 0.5, 2)
    store.record(asks("a"), 10.5)
    (spent,) = store.spent(20.5)
    assert (spent.limit, spent.subject) == (MINUTE, "a")
    assert spent.counts == ((pytest.approx(20.5), 2), (pytest.approx(10.5), 1))
    assert await store.reset("ip", "a") == 1
    assert await store.reset("ip", "a") == 0
    assert list(store.spent(20.5)) == []
