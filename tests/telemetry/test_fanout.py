"""The fan-out: every sink gets each fact, whatever another one raises."""

from __future__ import annotations

from sidecar.telemetry.fanout import Fanout
from tests.support.exchanges import Recorder
from tests.support.facts import event, served


class Broken:
    def record(self, event):
        raise OSError

    def served(self, served):
        raise ValueError


def test_a_broken_sink_is_counted_and_the_others_hear_all_the_same():
    first, last, failures = Recorder(), Recorder(), []
    fanout = Fanout([first, Broken(), last], lambda: failures.append(1))
    fanout.record(event())
    fanout.served(served())
    assert first.events == last.events == [event()]
    assert first.requests == last.requests == [served()]
    assert len(failures) == 2
