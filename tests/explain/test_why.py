"""Why a request was refused, from log lines."""

from __future__ import annotations

import pytest

from sidecar.explain.why import reason


def line(request_id="r1", ts="2026-01-31T12:00:00.000Z", outcome="refused", **detail):
    return {
        "ts": ts, "event": "CORS_BLOCKED", "outcome": outcome, "request_id": request_id, "route": "chat",
        "method": "POST", "path": "/api/chat", "status": 403, "detail": detail,
    }  # fmt: skip


BLOCKED = {
    "code": "CORS_BLOCKED",
    "guard": "cors",
    "place": "policy.yaml:4",
    "policy": "abc",
    "origin": "https://x.example",
}


def test_four_lines_say_what_by_whom_where_and_what_to_change() -> None:
    earlier = line("r0", "2026-01-31T09:00:00.000Z", **BLOCKED)
    found = reason([earlier, line(**BLOCKED)], "r1")
    assert found is not None
    assert found.lines() == [
        "refused  403 CORS_BLOCKED at 2026-01-31T12:00:00.000Z: POST /api/chat, route chat",
        "by       cors: origin https://x.example",
        "policy   policy.yaml:4 (digest abc), since 2026-01-31T09:00:00.000Z",
        "change   if the page is yours, add its origin to cors.allowed_origins",
    ]


NONE = {
    "no line": [],
    "another request": [line("r2", **BLOCKED)],
    "it passed": [line(outcome="allowed")],
    "it was observed only": [line(outcome="observed", **BLOCKED)],
    "a line of another shape": [{"request_id": "r1", "outcome": "refused", "detail": "text"}],
}


@pytest.mark.parametrize("records", NONE.values(), ids=NONE)
def test_no_refusal_no_reason(records) -> None:
    assert reason(records, "r1") is None


def test_the_line_that_names_a_guard_is_preferred() -> None:
    found = reason([line(**BLOCKED), line(code="CHAT_ERROR")], "r1")
    assert found is not None
    assert found.guard == "cors"


def test_a_failure_of_the_backend_has_no_guard() -> None:
    found = reason([line(outcome="failed", code="BACKEND_TIMEOUT", reason="first byte")], "r1")
    assert found is not None
    assert found.lines()[1:3] == [
        "by       the backend: reason first byte",
        "policy   no key of the policy (digest unknown), since 2026-01-31T12:00:00.000Z",
    ]
