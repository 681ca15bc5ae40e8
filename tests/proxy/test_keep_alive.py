"""How long idle connections to a backend may rest."""

from __future__ import annotations

import pytest

from sidecar.proxy.keep_alive import FRESH, USUAL, RestLimit, promised

PROMISES = {
    "none": (None, None),
    "one second": (b"timeout=1", 0.5),
    "Node's": (b"timeout=5", 4.0),
    "Apache's": (b"timeout=5, max=100", 4.0),
    "in capitals": (b"Timeout = 60", 59.0),
    "at once": (b"timeout=0", 0.0),
    "no number": (b"timeout=x", None),
    "another word": (b"xtimeout=5", None),
    "endless": (b"timeout=5," * 20, None),
}


@pytest.mark.parametrize(("said", "seconds"), PROMISES.values(), ids=PROMISES)
def test_promises(said, seconds) -> None:
    assert promised(said) == seconds


LIMITS = {
    # configured, promise: what may be repeated rests so long, what may not so long
    "no word of either": (None, None, USUAL, FRESH),
    "the backend says": (None, 4.0, 4.0, 4.0),
    "the policy says": (20.0, None, 20.0, 20.0),
    "both say": (20.0, 4.0, 4.0, 4.0),
    "the backend says more": (20.0, 100.0, 20.0, 20.0),
    "never": (0.0, None, 0.0, 0.0),
}


@pytest.mark.parametrize(("configured", "promise", "repeatable", "once"), LIMITS.values(), ids=LIMITS)
def test_limits(configured, promise, repeatable, once) -> None:
    limit = RestLimit(configured)
    assert limit.of(promise, 0.0, replayable=True) == repeatable
    assert limit.of(promise, 0.0, replayable=False) == once


def test_early_closes_are_learned_and_forgotten() -> None:
    limit = RestLimit(None)
    limit.closed_early(0.2, 100.0)  # a restart, no timeout
    assert limit.of(None, 100.0, replayable=True) == USUAL
    limit.closed_early(2.0, 100.0)
    assert limit.of(None, 100.0, replayable=True) == pytest.approx(1.6)
    assert limit.of(4.0, 100.0, replayable=False) == pytest.approx(1.6)
    limit.closed_early(30.0, 100.0)  # later than what is known already
    assert limit.of(None, 100.0, replayable=True) == pytest.approx(1.6)
    assert limit.of(None, 160.0, replayable=True) == pytest.approx(3.2)
    assert limit.of(None, 1000.0, replayable=True) == USUAL
