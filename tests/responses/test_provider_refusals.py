from __future__ import annotations

import pytest

from sidecar.responses.provider_refusals import wait_of

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        pytest.param({"retry-after": "20"}, 20.0, id="seconds"),
        pytest.param({"retry-after-ms": "1500", "retry-after": "2"}, 1.5, id="milliseconds-first"),
        pytest.param({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0, id="a-date"),
        pytest.param({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0, id="a-date-that-is-over"),
        pytest.param({"retry-after": f"Fri, 15 Jan 2027 08:00:30 +{'9' * 20}"}, 0.0, id="a-date-in-no-zone"),
        pytest.param({"retry-after": "soon"}, 0.0, id="no-time"),
        pytest.param({"retry-after": "-5"}, 0.0, id="below-zero"),
        pytest.param({"retry-after": "9" * 400}, 0.0, id="beyond-counting"),
        pytest.param(
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0, id="openai-requests"
        ),
        pytest.param(
            {"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "6m0s",
             "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1.5s"}, 1.5, id="openai-tokens",
        ),
        pytest.param({"x-ratelimit-reset-tokens": "120ms"}, 0.12, id="openai-milliseconds"),
        pytest.param({"x-ratelimit-reset-tokens": "1s or so"}, 0.0, id="no-span"),
        pytest.param(
            {"anthropic-ratelimit-input-tokens-remaining": "0",
             "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:12Z"}, 12.0, id="anthropic",
        ),
        pytest.param({}, 0.0, id="nothing"),
    ],
)  # fmt: skip
def test_until_when_a_provider_refuses(head: dict[str, str], seconds: float) -> None:
    index = {name.encode(): value.encode() for name, value in head.items()}
    assert wait_of(index, NOW) == pytest.approx(seconds)
