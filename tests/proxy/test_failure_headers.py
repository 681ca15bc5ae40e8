"""What failures say besides their body."""

from __future__ import annotations

import pytest

from sidecar.proxy.failure_headers import passed_on_failure, provider_request_id, retry_advice
from sidecar.vocabulary import Code


def test_what_passes_on_a_failure() -> None:
    lines = [
        (b"retry-after", b"Retry-After: 3"),
        (b"x-request-id", b"x-request-id: req_1"),
        (b"x-ratelimit-reset-tokens", b"x-ratelimit-reset-tokens: 6ms"),
        (b"x-node", b"X-Node: 7"),
        (b"set-cookie", b"Set-Cookie: a=1"),
    ]
    assert passed_on_failure(lines, frozenset({b"x-request-id"})) == [lines[0][1], lines[2][1]]


@pytest.mark.parametrize(
    ("index", "found"),
    [
        pytest.param({b"x-request-id": b"req_1", b"cf-ray": b"8f-FRA"}, "req_1", id="first of the list"),
        pytest.param({b"x-request-id": b"own", b"cf-ray": b"8f-FRA"}, "8f-FRA", id="not our own"),
        pytest.param({b"request-id": b'a"b'}, "", id="quotes"),
        pytest.param({b"request-id": b"a" * 129}, "", id="endless"),
        pytest.param({}, "", id="none"),
    ],
)
def test_the_providers_id(index, found) -> None:
    assert provider_request_id(index, "own", None) == found


def test_an_id_that_is_a_secret_is_not_logged() -> None:
    class Filters:
        def clean(self, text: bytes) -> bytes:
            return text.replace(b"sk-proj-1", b"[redacted]")

    index = {b"x-request-id": b"sk-proj-1", b"cf-ray": b"8f-FRA"}
    assert provider_request_id(index, "own", Filters()) == "8f-FRA"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "sent", "said"),
    [
        (Code.BACKEND_TIMEOUT, True, b"false"),
        (Code.BACKEND_TIMEOUT, False, None),
        (Code.BODY_TOO_LARGE, False, b"false"),
        (Code.IP_BLOCKED, False, b"false"),
        (Code.MESSAGE_TOO_LONG, False, b"false"),
        (Code.RATE_LIMIT_EXCEEDED, False, None),
        (Code.OVERLOADED, False, None),
        (Code.BACKEND_UNREACHABLE, False, None),
    ],
)
def test_advice(code, sent, said) -> None:
    assert dict(retry_advice(code, sent=sent)).get(b"x-should-retry") == said
