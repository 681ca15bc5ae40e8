"""Costs over the admin API: sums by day and organization."""

from __future__ import annotations

from sidecar.events import Served
from sidecar.exchange import TokensUsed
from sidecar.prices import NANO

DAY = 86_400.0


async def call(panel, client, path, role="viewer", organization="*"):
    async with client.get(path, headers=panel.bearer(role, organization)) as response:
        return response.status, await response.json()


def request(at, organization, cost, given=100, made=50):
    made_of = Served(at, "r", "203.0.113.9", organization, "", "chat", "POST", "/", 200, 0.1, 0.1, 0.1, 1, 1)
    return made_of._replace(usage=TokensUsed("gpt-4o-mini", given, made, cost))


def serve(panel, *requests):
    for each in requests:
        panel.costs._waiting.put(each)


async def test_sums_by_day_and_organization(panel, client):
    now = panel.clock.now()
    serve(
        panel,
        request(now, "acme", NANO // 2),
        request(now, "acme", NANO),
        request(now - DAY, "acme", NANO),
        request(now, "other", None),
    )
    status, shown = await call(panel, client, "/api/costs")
    acme = {"organization": "acme", "unpriced_tokens": 0}
    assert (status, shown) == (
        200,
        {
            "since": "2026-12-16",
            "days": 31,
            "kept": "memory",
            "entries": [
                {**acme, "day": "2027-01-14", "requests": 1, "input_tokens": 100, "output_tokens": 50, "cost_usd": 1.0},
                {
                    **acme,
                    "day": "2027-01-15",
                    "requests": 2,
                    "input_tokens": 200,
                    "output_tokens": 100,
                    "cost_usd": 1.5,
                },
                {
                    "day": "2027-01-15",
                    "organization": "other",
                    "requests": 1,
                    "input_tokens": 100,
                    "output_tokens": 50,
                    "cost_usd": 0.0,
                    "unpriced_tokens": 150,
                },
            ],
            "total": {
                "requests": 4,
                "input_tokens": 400,
                "output_tokens": 200,
                "cost_usd": 2.5,
                "unpriced_tokens": 150,
            },
        },
    )
    _, shown = await call(panel, client, "/api/costs?days=1")
    assert (shown["since"], [entry["day"] for entry in shown["entries"]]) == ("2027-01-15", ["2027-01-15"] * 2)


async def test_an_organization_sees_its_own(panel, client):
    now = panel.clock.now()
    serve(panel, request(now, "acme", NANO), request(now, "other", 2 * NANO))
    _, shown = await call(panel, client, "/api/costs", organization="acme")
    assert [(entry["organization"], entry["cost_usd"]) for entry in shown["entries"]] == [("acme", 1.0)]
    assert shown["total"]["cost_usd"] == 1.0
    assert (await call(panel, client, "/api/costs?organization=other", organization="acme"))[0] == 403


async def test_those_that_cost_least_are_shown_together(panel, client, monkeypatch):
    monkeypatch.setattr("sidecar.admin.costs.SHOWN", 2)
    now = panel.clock.now()
    serve(panel, *(request(now, f"org-{number}", number * NANO) for number in range(1, 6)))
    _, shown = await call(panel, client, "/api/costs")
    assert [(entry["organization"], entry["cost_usd"]) for entry in shown["entries"]] == [
        (None, 6.0),
        ("org-4", 4.0),
        ("org-5", 5.0),
    ]
    assert shown["total"]["cost_usd"] == 15.0


async def test_days_have_a_bound(panel, client):
    for days in ("0", "32", "x"):
        assert (await call(panel, client, f"/api/costs?days={days}"))[0] == 400
