"""The real openai and anthropic clients at the end of a budget: their own errors, in mid-stream and before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import PYTHON, facts, need_clients
from tests.support.endless_model import endless_model
from tests.support.sidecar import threaded

ENDED = "The budget is used up"
ROUTES = [
    {"name": "chat", "match": {"path": "/v1/chat/completions", "methods": ["POST"]}, "protocol": "openai"},
    {"name": "claude", "match": {"path": "/v1/messages", "methods": ["POST"]}, "protocol": "anthropic"},
]
BUDGET = {"name": "daily", "per": "ip", "limit": "3000 tokens", "counts": "output"}


@pytest.mark.parametrize(
    ("client", "in_stream", "before"),
    [
        pytest.param("openai", "openai.APIError", "openai.RateLimitError", id="openai"),
        pytest.param("anthropic", "anthropic.APIStatusError", "anthropic.RateLimitError", id="anthropic"),
    ],
)
def test_a_stream_ends_with_the_clients_own_error(tmp_path: Path, client: str, in_stream: str, before: str) -> None:
    need_clients(PYTHON)
    with endless_model() as model, threaded(tmp_path, model.url, routes=ROUTES, budgets=[BUDGET]) as front:
        found = facts(tmp_path, f"{client}_until_it_ends", f"http://127.0.0.1:{front.public}")
    cut, refused = found  # type: ignore[misc]
    assert 2999 <= cut["pieces"] <= 3000
    assert (cut["error"]["class"], refused["error"]["class"]) == (in_stream, before)
    assert ENDED in cut["error"]["text"]
    assert ENDED in refused["error"]["text"]
    assert refused["pieces"] == 0
    assert int(refused["error"]["retry_after"]) > 80_000
    (made,) = model.made
    assert made.done.wait(10)
    assert made.left, "the backend's work went on"
    # What the backend has made and the budget has counted differ by what was on its way.
    assert made.tokens <= 3000 * 1.02
