from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.guards.budgets.request_size import LARGEST, size_of
from tests.support.exchanges import exchange

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "asked", "model", "most"),
    [
        pytest.param(CHAT, {"model": "gpt-4o", "max_tokens": 50}, "gpt-4o", 50, id="openai"),
        pytest.param(CHAT, {"model": "o3", "max_completion_tokens": 50, "max_tokens": 90}, "o3", 50, id="the-lower"),
        pytest.param(CHAT, {"model": "gpt-4o", "max_tokens": 50, "n": 3}, "gpt-4o", 150, id="several-answers"),
        pytest.param(CHAT, {"model": "gpt-4o"}, "gpt-4o", None, id="unbounded"),
        pytest.param(CHAT, {"model": 7, "max_tokens": "50"}, "", None, id="other-types"),
        pytest.param(CHAT, {"max_tokens": -5, "n": 10**9}, "", None, id="below-zero"),
        pytest.param(CHAT, {"max_tokens": 10**18}, "", LARGEST, id="beyond-counting"),
        pytest.param("/v1/responses", {"model": "gpt-5", "max_output_tokens": 7}, "gpt-5", 7, id="responses"),
        pytest.param("/api/chat", {"model": "llama3", "options": {"num_predict": 9}}, "llama3", 9, id="ollama"),
        pytest.param(
            "/v1beta/models/gemini-2.5-pro:generateContent",
            {"generationConfig": {"maxOutputTokens": 11}},
            "gemini-2.5-pro",
            11,
            id="google",
        ),
        pytest.param(
            "/v1/embeddings", {"model": "text-embedding-3-small"}, "text-embedding-3-small", 0, id="no-output"
        ),
        pytest.param(CHAT, [1, 2], "", None, id="no-object"),
    ],
)
def test_what_a_request_may_use(path: str, asked: Any, model: str, most: int | None) -> None:
    body = json.dumps(asked).encode()
    size = size_of(exchange("POST", path), body)
    assert (size.model, size.most, size.given) == (model, most, -(-len(body) // 4))


def test_what_was_parsed_is_not_parsed_again() -> None:
    asked = exchange("POST", CHAT)
    asked.parsed = (b"not json", {"model": "gpt-4o"})
    assert size_of(asked, b"not json").model == "gpt-4o"
    assert size_of(asked, b"neither").model == ""
