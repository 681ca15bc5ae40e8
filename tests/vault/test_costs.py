"""Costs in the database: replicas add to the same rows, old days go, the number of organizations is bounded."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.vault.costs import Cost, Costs, named
from sidecar.vault.database import Database

TODAY = "2027-01-15"


async def test_replicas_add_to_the_same_rows(url: str) -> None:
    databases = await asyncio.gather(*(Database.open(url) for _ in range(2)))
    stores = [Costs(database) for database in databases]
    for _ in range(2):
        await asyncio.gather(*(store.add({(TODAY, "acme"): Cost(1, 10, 5, 2_000, 3)}, TODAY) for store in stores))
    await stores[0].add({(TODAY, "other"): Cost(1, 1, 1, 2**60, 0)}, TODAY)
    assert await stores[1].read(TODAY, None, 100) == {
        (TODAY, "acme"): Cost(4, 40, 20, 8_000, 12),
        (TODAY, "other"): Cost(1, 1, 1, 2**60, 0),
    }
    assert await stores[1].read(TODAY, "acme", 100) == {(TODAY, "acme"): Cost(4, 40, 20, 8_000, 12)}
    await asyncio.gather(*(database.close() for database in databases))


async def test_days_before_the_oldest_go(url: str) -> None:
    database = await Database.open(url)
    store = Costs(database)
    await store.add({("2026-12-15", "acme"): Cost(1), ("2026-12-16", "acme"): Cost(2)}, "2026-12-15")
    await store.add({(TODAY, "acme"): Cost(3)}, "2026-12-16")
    assert sorted(await store.read("2000-01-01", None, 100)) == [("2026-12-16", "acme"), (TODAY, "acme")]
    assert list(await store.read("2026-12-17", None, 100)) == [(TODAY, "acme")]
    await database.close()


async def test_more_organizations_than_a_day_has_rows_for_are_counted_together(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.vault.costs.MAX_ORGANIZATIONS", 3)
    database = await Database.open(url)
    store = Costs(database)
    await store.add({(TODAY, f"org-{number}"): Cost(1) for number in range(5)}, TODAY)
    await store.add({(TODAY, "org-0"): Cost(1), (TODAY, "org-9"): Cost(1), (TODAY, ""): Cost(1)}, TODAY)
    assert await store.read(TODAY, None, 100) == {
        (TODAY, "org-0"): Cost(2),
        (TODAY, "org-1"): Cost(1),
        (TODAY, "org-2"): Cost(1),
        (TODAY, ""): Cost(4),
    }
    await database.close()


async def test_those_that_cost_least_are_summed_up_together(url: str) -> None:
    database = await Database.open(url)
    store = Costs(database)
    yesterday = "2027-01-14"
    for day in (yesterday, TODAY):
        await store.add({(day, f"org-{number}"): Cost(1, 2, 3, 2**50 + number, 5) for number in range(300)}, yesterday)
    await store.add({(TODAY, ""): Cost(1)}, yesterday)
    found = await store.read(yesterday, None, 2)
    assert sorted(found) == sorted((day, name) for day in (yesterday, TODAY) for name in ("", "org-298", "org-299"))
    assert found[TODAY, "org-299"] == Cost(1, 2, 3, 2**50 + 299, 5)
    rest = sum(2**50 + number for number in range(298))
    assert (found[yesterday, ""], found[TODAY, ""].requests) == (Cost(298, 596, 894, rest, 1490), 299)
    assert await store.read("2027-01-16", None, 2) == {}
    await database.close()


async def test_what_is_forgotten(url: str) -> None:
    database = await Database.open(url)
    store = Costs(database)
    await store.add({(TODAY, "acme"): Cost(1), ("2027-01-14", "acme"): Cost(1), (TODAY, ""): Cost(1)}, "2027-01-01")
    assert [await store.forget(name) for name in ("acme", "acme", "", "no\0name")] == [2, 0, 0, 0]
    assert await store.read("2027-01-01", None, 100) == {(TODAY, ""): Cost(1)}
    assert await store.read("2027-01-01", "no\0name", 100) == {}
    await database.close()


def test_a_name_that_the_table_does_not_take_is_counted_with_the_others() -> None:
    assert [named(name) for name in ("acme", "", "a\0b", "x" * 129)] == ["acme", "", "", ""]
