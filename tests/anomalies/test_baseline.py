"""What is usual at an hour."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.anomalies.baseline import DAY, HOURS, WEEK, HourlyBaseline, Usual, median, usual

BEGIN = 1000 * WEEK


def learnt(hours: int, count: Callable[[int], int]) -> HourlyBaseline:
    baseline = HourlyBaseline(BEGIN - 1)
    for hour in range(hours):
        baseline.close(BEGIN + hour, count(hour))
    return baseline


def by_day(hour: int) -> int:
    """100 from eight to nine, else 10."""
    return 100 if hour % DAY == 8 else 10


def by_week(hour: int) -> int:
    """1000 on each fifth day of a week, else as every day."""
    return 1000 if hour // DAY % 7 == 4 else by_day(hour)


@pytest.mark.parametrize(
    ("hours", "count", "at", "expected"),
    [
        pytest.param(23, by_day, 23, None, id="less than a day: nothing is known"),
        pytest.param(24, by_day, 24, Usual(100.0, 0.0), id="a day: the busiest hour"),
        pytest.param(5 * DAY, by_day, 5 * DAY + 20, Usual(100.0, 0.0), id="five days: still the busiest hour"),
        pytest.param(6 * DAY, by_day, 6 * DAY + 20, Usual(10.0, 0.0), id="six days: this time of the day"),
        pytest.param(6 * DAY, by_day, 6 * DAY + 8, Usual(100.0, 0.0), id="six days: the busy time of the day"),
        pytest.param(6 * DAY, by_day, 6 * DAY + 7, Usual(100.0, 0.0), id="the hour before it counts as it"),
        pytest.param(2 * WEEK, by_week, 2 * WEEK + 4 * DAY, Usual(10.0, 0.0), id="two weeks: a day is a day"),
        pytest.param(3 * WEEK + 1, by_week, 3 * WEEK + 4 * DAY, Usual(1000.0, 0.0), id="three weeks: a Friday is one"),
        pytest.param(8 * WEEK, by_week, 8 * WEEK + 4 * DAY, Usual(1000.0, 0.0), id="only four weeks are kept"),
    ],
)
def test_the_usual_count_of_an_hour(hours: int, count: Callable[[int], int], at: int, expected: Usual | None) -> None:
    assert learnt(hours, count).usual(BEGIN + at) == expected


def test_hours_without_a_count_had_none_and_the_first_one_does_not_count() -> None:
    baseline = HourlyBaseline(BEGIN)
    baseline.close(BEGIN, 1_000_000)  # half an hour of it may have passed before
    assert baseline.known == 0
    baseline.close(BEGIN + 30, 7)
    assert baseline.known == 30
    assert baseline.usual(BEGIN + 31) == Usual(7.0, 0.0)
    baseline.close(BEGIN + 10 * HOURS, 2**40)  # more than is kept, and larger than a cell
    assert baseline.known == HOURS
    assert baseline.usual(BEGIN + 10 * HOURS + DAY) == Usual(0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([5], Usual(5.0, 0.0), id="one"),
        pytest.param([1, 3], Usual(2.0, 1.0), id="two"),
        pytest.param([1, 2, 3, 4, 1000], Usual(3.0, 1.0), id="one far out moves nothing"),
        pytest.param([0, 0, 0, 9], Usual(0.0, 0.0), id="mostly nothing"),
    ],
)
def test_median_and_deviation(values: list[int], expected: Usual) -> None:
    assert usual(values) == expected
    assert median(sorted(values)) == expected.median


@pytest.mark.parametrize(
    ("known", "hours", "unit", "most"),
    [
        pytest.param(Usual(4000.0, 0.0), 0.25, 1.0, 4000.0, id="the factor, where counts are large"),
        pytest.param(Usual(16.0, 0.0), 0.25, 1.0, 16.0, id="noise of counting, where they are small"),
        pytest.param(Usual(0.0, 0.0), 1.0, 1.0, 6.0, id="nothing is usual"),
        pytest.param(Usual(400.0, 400.0), 1.0, 1.0, 400 + 6 * 1.4826 * 400 + 120, id="hours that vary much"),
        pytest.param(Usual(0.0, 0.0), 1.0, 1000.0, 6000.0, id="in units of requests"),
    ],
)
def test_the_most_that_is_usual(known: Usual, hours: float, unit: float, most: float) -> None:
    assert known.most(hours, 4.0, unit) == pytest.approx(most)
