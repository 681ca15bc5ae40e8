"""What clients send is remembered within a bound of bytes."""

from __future__ import annotations

from sidecar.bounded_cache import ENTRY, BoundedCache


def test_a_full_cache_is_emptied() -> None:
    cache: BoundedCache[int, int] = BoundedCache((ENTRY + 10) * 100)
    for number in range(101):
        cache.remember(number, number, 10)
    assert list(cache) == [100]


def test_one_large_entry_is_not_kept_and_empties_nothing() -> None:
    cache: BoundedCache[str, str] = BoundedCache(100_000)
    cache.remember("small", "a", 10)
    assert cache.remember("large", "b", 100_000) == "b"
    assert list(cache) == ["small"]
