"""Strikes and bans in this process."""

from __future__ import annotations

import pytest

from sidecar.stores.interfaces import Ban
from sidecar.stores.memory_bans import MemoryBanStore

NOW = 1_800_000_000.0


def test_strikes_within_the_window_ban_and_the_ban_ends() -> None:
    store = MemoryBanStore(strikes=3, within=60.0, duration=900.0)
    assert store.strike("a", 1, NOW) is None
    assert store.strike("a", 1, NOW + 1) is None
    assert store.banned("a", NOW + 1) == 0.0
    assert store.strike("a", 1, NOW + 2) == Ban("a", NOW + 902, "strikes", 3)
    assert store.banned("a", NOW + 901) == NOW + 902
    assert store.banned("a", NOW + 902) == 0.0
    assert store.strike("a", 1, NOW + 903) is None, "old strikes went into the ban"


def test_strikes_weigh_and_expire() -> None:
    store = MemoryBanStore(strikes=3, within=60.0, duration=900.0)
    store.strike("a", 2, NOW)
    assert store.strike("a", 2, NOW + 62) is None
    assert store.strike("a", 2, NOW + 63) is not None
    assert store.strike("b", 5, NOW) is not None


def test_a_banned_subject_earns_no_second_ban() -> None:
    store = MemoryBanStore(strikes=1)
    assert store.strike("a", 1, NOW) is not None
    assert store.strike("a", 1, NOW) is None


async def test_bans_by_hand_are_listed_and_lifted() -> None:
    store = MemoryBanStore(strikes=1)
    await store.ban("a", NOW + 100, "by hand")
    await store.ban("b", NOW + 50, "by hand")
    assert [ban.subject for ban in await store.list(NOW)] == ["b", "a"]
    assert [ban.subject for ban in await store.list(NOW + 60)] == ["a"]
    assert await store.lift("a")
    assert not await store.lift("a")
    assert store.banned("a", NOW) == 0.0


class TestBounds:
    def test_strikes_of_many_subjects(self) -> None:
        store = MemoryBanStore(strikes=2, max_subjects=10)
        for number in range(1000):
            store.strike(str(number), 1, NOW + number / 1000)
        assert len(store._rows) <= 10
        assert store.strike("999", 1, NOW + 1) is not None

    def test_a_full_table_keeps_those_who_sit_out(self) -> None:
        store = MemoryBanStore(strikes=1, duration=100.0, max_subjects=2)
        assert store.strike("a", 1, NOW)
        assert store.strike("b", 1, NOW + 10)
        assert store.strike("c", 1, NOW + 20) is None
        assert store.count() == 2
        assert store.banned("a", NOW + 20)
        assert store.strike("c", 1, NOW + 101), "the first is through"

    async def test_a_ban_by_hand_takes_the_place_of_the_one_that_ends_first(self) -> None:
        store = MemoryBanStore(strikes=1, duration=100.0, max_subjects=2)
        store.strike("a", 1, NOW)
        store.strike("b", 1, NOW + 10)
        await store.ban("c", NOW + 500, "by hand")
        assert [ban.subject for ban in await store.list(NOW + 20)] == ["b", "c"]


def test_a_reload_changes_the_rule_and_keeps_strikes_and_bans() -> None:
    store = MemoryBanStore(strikes=5, within=60.0, duration=100.0)
    store.strike("a", 2, NOW)
    store.strike("b", 5, NOW)
    store.rule(3, 60.0, 1.0)
    assert store.banned("b", NOW + 50) == NOW + 100
    assert store.strike("a", 1, NOW) == Ban("a", NOW + 1, "strikes", 3)


def test_cleanup_drops_what_is_over() -> None:
    store = MemoryBanStore(strikes=2, within=10.0, duration=100.0)
    store.strike("banned", 2, NOW)
    for number in range(5):
        store.strike(f"struck-{number}", 1, NOW)
    assert store.cleanup(NOW + 50) == 0
    assert len(store._rows) <= 1
    assert store.cleanup(NOW + 100) == 1
    assert store.count() == 0


def test_a_ban_says_what_the_strikes_were() -> None:
    store = MemoryBanStore(strikes=3, within=60.0)
    store.strike("a", 1, NOW, "AUTH_FAILED", "r-0")
    store.strike("a", 1, NOW + 100, "AUTH_FAILED", "r-1")
    store.strike("a", 1, NOW + 101, "REQUEST_MALFORMED", "r-2" * 100)
    made = store.strike("a", 1, NOW + 102, "AUTH_FAILED", "r-3")
    assert made is not None
    assert (made.kinds, made.requests) == (
        (("AUTH_FAILED", 2), ("REQUEST_MALFORMED", 1)),
        ("r-1", ("r-2" * 100)[:64], "r-3"),
    )


def test_what_strikes_were_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.stores.memory_bans.EXPLAINED", 10)
    store = MemoryBanStore(strikes=2)
    for number in range(100):
        store.strike(f"client {number}", 1, NOW, f"kind {number}", "r")
    assert len(store._why) == 10
    for number in range(100):
        store._explain("one").add(f"kind {number}", f"r{number}", 1, NOW, 60.0)
    assert (len(store._why["one"].kinds), len(store._why["one"].requests)) == (16, 5)
