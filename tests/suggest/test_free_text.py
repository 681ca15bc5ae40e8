"""What a person may have typed, and what programs write."""

from __future__ import annotations

import pytest

from sidecar.suggest.free_text import is_free_text, share_of_spaces

PEOPLE = [
    "what is the weather like",
    "Hello, who are you?",
    "wie geht es dir heute",
    "первое второе",
    "今日の天気はどうですか",
    "first line\nand a second one",
    "please run (this) now",
    "3 apples and 4 pears",
]
PROGRAMS = [
    "",
    "ok",
    "session-7f3a",
    "gpt-4o-mini",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "Fri, 27 Nov 2026 09:00:00 GMT",
    "2026-11-27 09:00:00 UTC time",
    "text/html; charset=utf-8",
    "https://example.com/a b c",
    '{"a": "b c d"}',
    "<p>a paragraph of words</p>",
    "rgb(1 2 3 / 50)",
    "Inter, system-ui, sans-serif",
    "12 34 56 78 90",
    "eyJhbGciOiJIUzI1NiJ9.e30.abc",
]


@pytest.mark.parametrize("text", PEOPLE)
def test_people(text) -> None:
    assert is_free_text(text)


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs(text) -> None:
    assert not is_free_text(text)


def test_share_of_spaces() -> None:
    assert share_of_spaces("a b ") == 0.5
    assert share_of_spaces("") == 0.0
