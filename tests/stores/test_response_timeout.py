"""The wait for Redis follows the measured round trips, between half of the timeout and all of it."""

from __future__ import annotations

from itertools import chain, repeat

import pytest

from sidecar.stores.response_timeout import ResponseTimeout

FAST = [0.0005] * 50
MEASURED = [
    pytest.param([], 0.06, id="nothing is known yet"),
    pytest.param(FAST, 0.03, id="fast and steady"),
    pytest.param([0.02] * 50, 0.03, id="farther and steady"),
    pytest.param([0.04] * 100, 0.04, id="far and steady"),
    pytest.param([0.001, 0.02] * 50, 0.055, id="uneven"),
    pytest.param([*FAST, 0.05], 0.056, id="one late answer"),
    pytest.param([*FAST, 0.05, *FAST], 0.03, id="one late answer, long ago"),
    pytest.param([0.5] * 100, 0.06, id="never more than configured"),
]


@pytest.mark.parametrize(("round_trips", "wait"), MEASURED)
def test_the_wait(round_trips: list[float], wait: float) -> None:
    timeout = ResponseTimeout(0.06)
    for seconds in round_trips:
        timeout.measured(seconds)
    assert timeout.current == pytest.approx(wait, abs=0.006)


def test_after_a_late_answer_the_whole_timeout_counts_again() -> None:
    timeout = ResponseTimeout(0.06)
    for seconds in FAST:
        timeout.measured(seconds)
    timeout.missed()
    assert timeout.current == 0.06
    timeout.measured(0.04)
    assert timeout.current == 0.06


def test_a_reload_begins_with_the_whole_timeout() -> None:
    timeout = ResponseTimeout(0.06)
    for seconds in chain(FAST, repeat(0.001, 10)):
        timeout.measured(seconds)
    timeout.use(0.5)
    assert (timeout.current, timeout.most) == (0.5, 0.5)
    timeout.measured(0.001)
    assert timeout.current == 0.25
