"""A log's requests through another policy."""

from __future__ import annotations

import json

import pytest

from sidecar.explain.replay import Replay, records, replay
from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from tests.support.policies import BASE, read

CHAT = "routes: [{ name: chat, match: { path: /api/chat }, message: { max_chars: 100 } }]\n"


def line(number=0, *, path="/api/chat", outcome="allowed", status=200, second=None, **detail):
    second = number if second is None else second
    return {
        "ts": f"2026-01-31T12:{second // 60:02d}:{second % 60:02d}.000Z", "category": "ACCESS", "event": None,
        "outcome": outcome, "request_id": f"r{number}", "client_ip": "203.0.113.9", "organization": "default",
        "session": None, "route": "chat", "method": "POST", "path": path, "status": status,
        "detail": {"received": 300, "sent": 100, **detail},
    }  # fmt: skip


def policy(text: str = "") -> Replay:
    return Replay(compile_policy(read(BASE + text), isolated_services()))


def differences(lines, new: str, old: str | None = None):
    report = replay(lines, policy(new), policy(old) if old is not None else None)
    shown = lambda groups: {(guard, code): group.count for (_, guard, code, _), group in groups.items()}  # noqa: E731
    return shown(report.more), shown(report.less)


LIMIT = "rate_limits: [{{ name: few, per: ip, limit: {0}, window: 1m }}]\n"
CASES = {
    "the same policy": ([line(0)], "", "", ({}, {})),
    "a tighter limit": ([line(n) for n in range(10)], LIMIT.format(4), LIMIT.format(100), ({("rate_limits", "RATE_LIMIT_EXCEEDED"): 6}, {})),
    "a wider limit": ([line(n) for n in range(10)], LIMIT.format(100), LIMIT.format(4), ({}, {("rate_limits", "RATE_LIMIT_EXCEEDED"): 6})),
    "windows move on": ([line(n, second=n * 30) for n in range(10)], LIMIT.format(3), "", ({}, {})),
    "an address": ([line(0)], "clients: { deny: [203.0.113.0/24] }\n", "", ({("address", "IP_BLOCKED"): 1}, {})),
    "an origin that is gone": ([line(0, origin="https://other.example")], "", "", ({}, {})),
    "no route": ([line(0, path="/old")], "unmatched: deny\n" + CHAT, CHAT, ({("unmatched", "NOT_FOUND"): 1}, {})),
    "a body": ([line(0, received=80_000)], "requests: { max_body: 1KiB }\n", "", ({("body", "BODY_TOO_LARGE"): 1}, {})),
    "a message": ([line(0, texts=1, characters=101)], CHAT, "", ({("message", "MESSAGE_TOO_LONG"): 1}, {})),
    "several texts": ([line(0, texts=2, characters=101)], CHAT, "", ({}, {})),
    "observed only": ([line(0)], "mode: observe\nclients: { deny: [203.0.113.0/24] }\n", "", ({}, {})),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "new", "old", "expected"), CASES.values(), ids=CASES)
def test_what_another_policy_would_have_done(lines, new, old, expected) -> None:
    assert differences(lines, new, old) == expected


def test_against_what_happened() -> None:
    blocked = line(1, outcome="refused", status=403) | {"category": "SECURITY", "event": "CORS_BLOCKED"}
    blocked["detail"] = {"code": "CORS_BLOCKED", "guard": "cors", "origin": "https://new.example"}
    lines = [line(0), blocked, line(1, outcome="refused", status=403)]
    allowed = "cors: { allowed_origins: [https://new.example] }\n"
    report = replay(lines, Replay(compile_policy(read(BASE + allowed), isolated_services())), None)
    assert (report.requests, report.before, report.after) == (2, 1, 0)
    ((key, group),) = report.less.items()
    assert key == ("chat", "cors", "CORS_BLOCKED", "203.0.113.0/24")
    assert group.examples == ["r1"]


def test_a_session_that_is_required() -> None:
    text = (
        "sessions: { mode: issue }\n"
        "routes: [{ name: chat, match: { path: /api/chat }, message: {}, session: required }]\n"
    )
    lines = [line(0), line(1) | {"session": "0123abcd"}]
    assert differences(lines, text, "") == ({("session", "INVALID_SESSION_ID"): 1}, {})


def test_lines_of_other_programs_are_left_out() -> None:
    text = [b"starting\n", b"[1]\n", json.dumps(line(0)).encode(), b'{"torn": ']
    assert replay(records(text, json.loads), policy(), None).requests == 1
