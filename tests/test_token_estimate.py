from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.token_estimate import PICTURE, tokens_of, tokens_of_ascii, tokens_of_request


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param("", 0, id="empty"),
        pytest.param(" hello", 1, id="a-piece"),
        pytest.param("Hello there, how are you today?", 8, id="a-sentence"),
        pytest.param("internationalization", 2, id="a-long-word"),
        pytest.param("2026-11-27T12:00:00", 12, id="numbers"),
        pytest.param("会议讨论明年", 5, id="chinese"),
        pytest.param("городской совет собрался", 5, id="russian"),
        pytest.param("\n\n        return value", 3, id="code"),
    ],
)
def test_about_how_many(text: str, tokens: int) -> None:
    assert tokens_of(text) == tokens


@given(st.text(st.sampled_from("ab Z.,;-_(){}09 \n\t\x01\x1c\x0b\x7f") | st.sampled_from("aaaaaa .,"), max_size=60))
def test_a_text_in_ascii_is_counted_alike_in_bytes(text: str) -> None:
    assert tokens_of_ascii(text.encode()) == tokens_of(text)


def test_a_request_by_its_size() -> None:
    assert tokens_of_request(b"x y " * 100) == 100
    picture = b'{"url": "data:image/png;base64,' + b"QUJD" * 100_000 + b'"}'
    assert PICTURE <= tokens_of_request(picture) < PICTURE + 20
