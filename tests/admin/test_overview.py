"""One answer for the first view of the console."""

from __future__ import annotations

import socket

from sidecar import __version__
from sidecar.telemetry.gauges import CredentialState, Gauges
from tests.support.facts import event, served
from tests.support.management import management


async def overview(panel, client_session):
    async with client_session.get(f"{panel.base}/api/overview", headers=panel.bearer("viewer")) as response:
        return response.status, await response.json()


async def test_the_last_hour_and_the_state_of_the_parts():
    import aiohttp

    async with management() as panel, aiohttp.ClientSession() as session:
        now = panel.clock.now()
        day = 86_400.0
        panel.metrics.watch(
            Gauges(
                active_requests=lambda: 3,
                active_streams=lambda: {"sse": 2, "websocket": 1},
                sessions=lambda: 7,
                credentials=lambda: [
                    CredentialState("acme", "openai", "old", now - 1),
                    CredentialState("acme", "openai", "soon", now + day),
                    CredentialState("acme", "openai", "later", now + 30 * day),
                    CredentialState("acme", "openai", "never", None),
                    CredentialState("acme", "openai", "lost", None, undecryptable=True),
                ],
            )
        )
        panel.parts.history.take(served(status=403, backend=-1.0))
        panel.parts.events.record(event(detail={"guard": "cors", "code": "CORS_BLOCKED"}))
        await panel.bans.ban("203.0.113.9", now + 60, "test")
        status, shown = await overview(panel, session)
    assert status == 200
    minutes = shown.pop("minutes")
    assert (len(minutes), minutes[-1]["refused"]) == (60, 1)
    assert shown["total"]["requests"] == 1
    assert shown["refusals"] == [{"guard": "cors", "code": "CORS_BLOCKED", "outcome": "refused", "count": 1}]
    assert (shown.pop("replica"), shown.pop("version")) == (socket.gethostname(), __version__)
    for name in ("total", "refusals", "events", "clients", "routes", "times", "at"):
        shown.pop(name)
    assert shown == {
        "backend": {"answered": 0, "errors": 0, "not_ready": ""},
        "policy": {"digest": "ab12", "mode": "enforce", "loaded_at": "2027-01-15T08:00:00.000Z", "successful": False},
        "not_ready": [],
        "maintenance": {"on": False},
        "active_requests": 3,
        "streams": {"sse": 2, "websocket": 1},
        "sessions": 7,
        "bans": 1,
        "stores": {"redis": "up"},
        "vault": {"credentials": 5, "expired": 1, "expiring": 1, "undecryptable": 1},
        "undeclared_proxies": ["10.0.0.7"],
        "dropped_headers": {"remote-user": 2},
        "log_dropped": 0,
    }


async def test_it_is_not_recorded():
    import aiohttp

    async with management() as panel, aiohttp.ClientSession() as session:
        assert (await overview(panel, session))[0] == 200
        assert panel.recorder.events == []
