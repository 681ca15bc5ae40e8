"""Clients may not take every file descriptor."""

from __future__ import annotations

import pytest

from sidecar.proxy.descriptors import LINE_EVERY, DescriptorReserve
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder


@pytest.mark.parametrize(("limit", "most"), [(128, 48), (1024, 480), (1 << 20, (1 << 19) - 32), (64, 24)])
def test_clients_get_half_of_what_the_reserve_leaves(limit, most):
    reserve = DescriptorReserve(Recorder(), FakeClock(), limit)
    for _ in range(most):
        assert not reserve.is_short()
        reserve.take()
    assert reserve.is_short()
    reserve.give_back()
    assert not reserve.is_short()
    assert reserve.short == 1


def test_one_line_a_minute():
    recorder, clock = Recorder(), FakeClock()
    reserve = DescriptorReserve(recorder, clock, 1)
    for _ in range(50):
        assert reserve.is_short()
    clock.advance(LINE_EVERY)
    assert reserve.is_short()
    assert [event.detail["connections"] for event in recorder.events] == [1, 51]
