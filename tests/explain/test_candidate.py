"""Another policy beside the one in force: problems, differences, recent traffic."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.explain.candidate import Candidates, listing
from sidecar.policy.document.read import PolicyDocument, draft_policy
from sidecar.telemetry.history import TrafficHistory
from sidecar.vocabulary import Event
from tests.support.clock import FakeClock
from tests.support.facts import event, served
from tests.support.policies import BASE, read

LIMIT = "rate_limits: [{{ name: few, per: ip, limit: {0}, window: 1m }}]\n"


def draft(text: str) -> PolicyDocument:
    return draft_policy(text, {}, name="candidate")


@pytest.fixture
def history() -> TrafficHistory:
    return TrafficHistory(FakeClock())


@pytest.fixture
def candidates(history: TrafficHistory) -> Candidates:
    return Candidates(draft, lambda: read(BASE + LIMIT.format(100)), history.kept)


async def test_a_policy_with_problems_has_them_all_with_their_places(candidates: Candidates) -> None:
    found = await candidates.check(BASE + "mode: strict\ncors: { allowed_origins: ['*'] }\n")
    assert (found["ok"], found["source"]) == (False, "candidate")
    assert [(each["path"], each["line"]) for each in found["problems"]] == [
        ("mode", 3),
        ("cors.allowed_origins[0]", 4),
    ]
    assert found["problems"][0]["text"].startswith("candidate:3:")
    for judge in (candidates.diff, candidates.replay):
        assert (await judge("version: [\n"))["ok"] is False


async def test_a_good_policy_has_a_digest(candidates: Candidates) -> None:
    found = await candidates.check(BASE)
    assert (found["ok"], found["problems"], len(found["digest"])) == (True, [], 64)


async def test_what_changes_in_effect(candidates: Candidates) -> None:
    found = await candidates.diff(BASE + LIMIT.format(5))
    assert found["changes"] == [{"path": "rate_limits[few].limit", "before": "100", "after": "5"}]
    assert (await candidates.diff(BASE + LIMIT.format(100)))["changes"] == []


async def test_recent_requests_through_it(candidates: Candidates, history: TrafficHistory) -> None:
    for number in range(10):
        history.take(served(at=1_800_000_000.0 + number, request_id=f"r{number}"))
    history.record(
        event(
            Event.CORS_BLOCKED,
            request_id="cors",
            detail={"guard": "cors", "code": "CORS_BLOCKED", "origin": "https://new.example"},
        )
    )
    history.take(served(at=1_800_000_011.0, request_id="cors", status=403, backend=-1.0, client_ip="198.51.100.1"))
    found = await candidates.replay(BASE + LIMIT.format(4) + "cors: { allowed_origins: ['https://new.example'] }\n")
    assert (found["ok"], found["requests"], found["refused_before"], found["refused_after"]) == (True, 11, 1, 6)
    assert found["more"] == [
        {
            "route": "chat",
            "guard": "rate_limits",
            "code": "RATE_LIMIT_EXCEEDED",
            "network": "203.0.113.0/24",
            "count": 6,
            "examples": ["r4", "r5", "r6"],
        }
    ]
    assert [(row["guard"], row["count"]) for row in found["less"]] == [("cors", 1)]
    assert found["since"] == "2027-01-15T08:00:00.000Z"


async def test_nothing_came_yet(candidates: Candidates) -> None:
    found = await candidates.replay(BASE)
    assert (found["requests"], found["more"], found["since"]) == (0, [], None)


async def test_one_at_a_time(candidates: Candidates) -> None:
    assert not candidates.is_busy
    running = asyncio.create_task(candidates.check(BASE))
    await asyncio.sleep(0)
    assert candidates.is_busy
    await running
    assert not candidates.is_busy


def test_every_value_with_where_it_comes_from() -> None:
    found = {path: (value, origin) for path, value, origin in listing(read(BASE + "mode: observe\n"))}
    assert found["mode"] == ("observe", "P:3")
    assert found["requests.max_body"] == ("1MiB", "default")
    assert listing(read(BASE), {"mode"}) == [("mode", "enforce", "default")]
