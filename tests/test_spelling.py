"""What was probably meant by an unknown word."""

from __future__ import annotations

import pytest

from sidecar.spelling import LONGEST, nearest

KNOWN = ("enforce", "observe", "a" * LONGEST)

CASES = {
    "one letter off": ("enforse", 0.6, "enforce"),
    "two letters swapped": ("obsevre", 0.6, "observe"),
    "too far for the wanted likeness": ("obsevre", 0.95, None),
    "like none": ("teapot", 0.6, None),
    "empty": ("", 0.6, None),
    "longer than what is compared": ("a" * 1_000_000, 0.6, "a" * LONGEST),
}


@pytest.mark.parametrize(("word", "least", "meant"), CASES.values(), ids=CASES)
def test_the_nearest_word(word, least, meant):
    assert nearest(word, KNOWN, least) == meant
