"""Layers of escapes: where the bytes of an undone text stood, found from its end alone or from its beginning."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sidecar.redaction.character_escapes import Positions, begin_near_end, layers

UNITS = [
    b" ", b"=", b"-", b"a", b"\\", b"\\u0041", b"%41", b"%25", b"&amp;", b"&#65;", b"u0041", b"2", b"5", b"\\\\",
    b"\xe2\x80\x8b", b"x" * 40, b"\n", b"\x00", b'\\"', b"\\ud83d\\ude00",
]  # fmt: skip


@pytest.mark.parametrize("final", [False, True], ids=["cut", "final"])
@pytest.mark.parametrize("count", [20, 200, 900])
def test_a_place_near_the_end_is_found_without_reading_all_again(count: int, final: bool) -> None:
    drawn = random.Random(count)
    for _ in range(60):
        found = layers(b"".join(drawn.choices(UNITS, k=count)), final=final)
        for above, below in pairwise(found):
            size = len(below.text)
            for at in {size, max(0, size - 1), max(0, size - drawn.randint(0, 300)), below.stop}:
                assert begin_near_end(above, below, at) in (None, Positions(above.text, below.tokens).start(at))


def test_a_place_far_from_the_end_is_left_to_positions() -> None:
    above, below, *_ = layers(b"=" + b"\\u0041" * 300 + b" " + b"\\u0041" * 100, final=True)
    assert begin_near_end(above, below, 400) == 1 + 1800 + 1 + 98 * 6
    assert begin_near_end(above, below, 20) is None
