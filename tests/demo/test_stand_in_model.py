"""The stand-in model: the same words for the same message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.demo.stand_in_model import GREETINGS, QUOTED, answer, pieces


@given(st.text(max_size=400))
def test_an_answer_hangs_on_the_message_alone_and_is_bounded(message):
    said = answer(message)
    assert said == answer(message)
    assert 0 < len(said) < QUOTED + 200
    assert "".join(pieces(said)).strip() == said.strip()


@pytest.mark.parametrize(
    ("message", "part"),
    [
        pytest.param("", "The message was empty", id="nothing"),
        pytest.param("why?", "“why?” ", id="question"),
        pytest.param("LISTEN", "“Listen” ", id="shout"),
        pytest.param("a" * 300, "“" + "a" * QUOTED + "…”", id="long"),
        pytest.param("<b>", "“<b>” arrived here unchanged", id="markup"),
        pytest.param("&lt;b>", "“&lt;b>” arrived here as harmless text", id="escaped markup"),
        pytest.param("3 < 5", "“3 < 5” ", id="less than"),
        pytest.param("bread is good", "“bread is good” ", id="remark"),
    ],
)
def test_an_answer_says_back_what_was_said(message, part):
    assert part in answer(message)


def test_a_greeting_is_returned():
    assert answer("  Hello there") in GREETINGS
    assert answer("helloes") not in GREETINGS
