"""Budgets over the admin API: how they stand for one subject, and emptying them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.budget import Claim
from sidecar.prices import NANO
from sidecar.session import key_of
from tests.support.management import BUDGETS

IP_DAY, ORG_MONTH, KEY_DAY = BUDGETS


async def call(panel, client, method, path, body=None, role="admin", organization="*"):
    async with client.request(method, path, json=body, headers=panel.bearer(role, organization)) as response:
        return response.status, await response.json()


def use(panel, budget, subject, spend=0, hold=0):
    claim = Claim(budget, subject, hold, spend=spend, bound=False)
    panel.parts.budgets.claim([claim], "a request", 30.0, panel.clock.monotonic())


async def test_what_was_used_and_what_is_reserved(panel, client):
    use(panel, IP_DAY, "203.0.113.9", spend=300, hold=200)
    panel.clock.advance(10)
    status, shown = await call(panel, client, "GET", "/api/budgets/ip/203.0.113.9", role="viewer")
    (budget,) = shown["budgets"]
    reset = datetime.fromisoformat(budget.pop("reset")) - datetime.fromtimestamp(panel.clock.now(), UTC)
    assert (status, shown["type"], shown["key"]) == (200, "ip", "203.0.113.9")
    assert budget == {
        "name": "ip-day",
        "per": "ip",
        "unit": "tokens",
        "limit": 1000,
        "window": 86_400.0,
        "counts": "total",
        "on_end": "stop",
        "used": 300,
        "reserved": 200,
        "remaining": 500,
    }
    assert timedelta(hours=23, minutes=30) < reset <= timedelta(hours=24, minutes=24)


async def test_money_is_in_dollars_and_an_organization_sees_its_own(panel, client):
    use(panel, ORG_MONTH, "acme", spend=NANO // 4)
    _, shown = await call(panel, client, "GET", "/api/budgets", role="viewer", organization="acme")
    assert [each["name"] for each in shown["budgets"]] == ["ip-day", "org-month", "key-day"]
    (own,) = shown["organization"]["budgets"]
    assert (own["limit"], own["used"], own["remaining"]) == (5.0, 0.25, 4.75)
    _, shown = await call(panel, client, "GET", "/api/budgets")
    assert "organization" not in shown


KEYS = {
    "an address by its prefix": ("ip/2001:db8:1:2::5", "2001:db8:1:2::/64"),
    "a session by its hash": ("session/the-id-of-a-session", key_of("the-id-of-a-session")),
    "requests without a session": ("session/ip:2001:db8:1:2::5", "ip:2001:db8:1:2::/64"),
    "a credential without a name": ("credential/acme%2Fopenai", "acme/openai/"),
    "a credential with a name": ("credential/acme%2Fopenai%2Fsecond", "acme/openai/second"),
}


@pytest.mark.parametrize(("path", "key"), KEYS.values(), ids=KEYS)
async def test_subjects_are_named_as_they_are_counted(panel, client, path, key):
    status, shown = await call(panel, client, "GET", f"/api/budgets/{path}")
    assert (status, shown["key"]) == (200, key)
    assert "the-id-of-a-session" not in repr(panel.recorder.events)


async def test_a_reset_forgets_what_was_used_and_is_written_down(panel, client):
    use(panel, IP_DAY, "203.0.113.9", spend=900)
    body = {"type": "ip", "key": "203.0.113.9", "name": "ip-day"}
    assert await call(panel, client, "POST", "/api/budgets/reset", body, role="operator") == (
        200,
        {"type": "ip", "key": "203.0.113.9", "reset": 1},
    )
    _, shown = await call(panel, client, "GET", "/api/budgets/ip/203.0.113.9")
    assert (shown["budgets"][0]["used"], shown["budgets"][0]["remaining"]) == (0, 1000)
    entry = panel.book.entries[-1]
    assert (entry["action"], entry["outcome"], entry["subject"]) == ("budget.reset", "done", "ip:203.0.113.9")


WRONG = [
    ("GET", "/api/budgets/planet/x", None),
    ("GET", "/api/budgets/ip/no-address", None),
    ("GET", "/api/budgets/credential/acme", None),
    ("POST", "/api/budgets/reset", {"type": "ip"}),
    ("POST", "/api/budgets/reset", {"type": "ip", "key": "203.0.113.9", "name": "none-of-these"}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRONG, ids=lambda value: str(value)[:60])
async def test_what_is_wrong_in_itself(panel, client, method, path, body):
    status, answer = await call(panel, client, method, path, body)
    assert (status, answer["code"]) == (400, "REQUEST_MALFORMED")


async def test_without_an_audit_log_nothing_is_reset(panel, client):
    use(panel, IP_DAY, "203.0.113.9", spend=900)
    panel.book.is_away = True
    status, _ = await call(panel, client, "POST", "/api/budgets/reset", {"type": "ip", "key": "203.0.113.9"})
    assert status == 503
    (standing,) = await panel.parts.budgets.look([IP_DAY], "203.0.113.9", panel.clock.monotonic())
    assert standing.used == 900
