"""The row of numbers that is one window."""

from __future__ import annotations

from array import array

import pytest

from sidecar.stores.sliding_window import BUCKETS, add, empty, expire, frees, width_of


def test_a_row_counts_runs_of_one_bucket_together() -> None:
    row = empty(7)
    for bucket, count in [(7, 1), (7, 1), (9, 3)]:
        add(row, bucket, count)
    assert row.tolist() == [5, 7, 2, 9, 3]


@pytest.mark.parametrize(
    ("current", "left"),
    [
        pytest.param(67, [5, 7, 2, 9, 3], id="the sixtieth later bucket still counts it"),
        pytest.param(68, [3, 9, 3], id="the next does not"),
        pytest.param(70, [0, 70, 0], id="all gone"),
    ],
)
def test_expiry(current: int, left: list[int]) -> None:
    row = array("q", [5, 7, 2, 9, 3])
    expire(row, current)
    assert row.tolist() == left


def test_a_clock_that_steps_back_adds_to_the_newest_bucket() -> None:
    row = array("q", [1, 9, 1])
    add(row, 4)
    assert row.tolist() == [2, 9, 2]


@pytest.mark.parametrize(("limit", "bucket"), [(5, 7), (4, 7), (3, 9), (1, 9)])
def test_room_comes_with_the_bucket_that_brings_the_row_below_a_lowered_limit(limit: int, bucket: int) -> None:
    assert frees(array("q", [5, 7, 2, 9, 3]), limit) == bucket


@pytest.mark.parametrize("window", [0.5, 1.0, 7.0, 60.0, 3600.0, 604_800.0, 0.1, 1 / 3])
def test_sixty_buckets_are_never_shorter_than_the_window(window: float) -> None:
    assert width_of(window) * BUCKETS >= window
