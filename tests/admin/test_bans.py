"""Why an address is banned, over the admin API."""

from __future__ import annotations


async def show(panel, client, path):
    async with client.get(path, headers=panel.bearer("viewer")) as response:
        return response.status, await response.json()


async def test_a_ban_says_for_what_it_is(panel, client):
    now = panel.clock.now()
    for number in range(20):
        kind = "REQUEST_MALFORMED" if number % 4 else "AUTH_FAILED"
        panel.bans.strike("203.0.113.9", 1, now + number, kind, f"r-{number}")
    status, shown = await show(panel, client, "/api/bans/203.0.113.9")
    assert (status, shown) == (
        200,
        {
            "ip": "203.0.113.9",
            "until": "2027-01-15T08:15:19.000Z",
            "reason": "strikes",
            "strikes": 20,
            "kinds": {"REQUEST_MALFORMED": 15, "AUTH_FAILED": 5},
            "requests": ["r-15", "r-16", "r-17", "r-18", "r-19"],
        },
    )
    _, listed = await show(panel, client, "/api/bans")
    assert listed["bans"] == [shown]


async def test_an_address_that_is_not_banned(panel, client):
    assert (await show(panel, client, "/api/bans/203.0.113.9"))[0] == 404
    assert (await show(panel, client, "/api/bans/nothing"))[0] == 400
