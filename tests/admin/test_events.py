"""Live events: as they come, to those who may see them, and no trouble from those who do not read."""

from __future__ import annotations

import asyncio
import json
import socket

import aiohttp
import pytest

from tests.support.facts import event
from tests.support.management import management


async def open_stream(client, panel, organization="*", **headers):
    asked = {**panel.bearer("viewer", organization), "Accept": "text/event-stream", **headers}
    response = await client.get("/api/events", headers=asked)
    assert (response.status, response.content_type) == (200, "text/event-stream")
    return response


async def messages(response, count):
    """Read until so many events came; return their numbers."""
    found = []
    while len(found) < count:
        line = await asyncio.wait_for(response.content.readline(), 5.0)
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:]))
    return found


async def until_live(response):
    while not (await asyncio.wait_for(response.content.readline(), 5.0)).startswith(b": live"):
        pass


async def test_events_come_as_they_happen_after_those_that_were(panel, client):
    panel.recent.record(event())
    stream = await open_stream(client, panel)
    assert [e["seq"] for e in await messages(stream, 1)] == [1]
    await until_live(stream)
    panel.recent.record(event())
    (shown,) = await messages(stream, 1)
    assert (shown["seq"], shown["event"], shown["client_ip"]) == (2, "CORS_BLOCKED", "203.0.113.9")
    stream.close()


async def test_a_stream_goes_on_where_it_was(panel, client):
    for _ in range(3):
        panel.recent.record(event())
    stream = await open_stream(client, panel, **{"Last-Event-ID": "2"})
    assert [e["seq"] for e in await messages(stream, 1)] == [3]
    stream.close()


async def test_an_organization_hears_of_itself_only(panel, client):
    stream = await open_stream(client, panel, "acme")
    await until_live(stream)
    panel.recent.record(event(organization="other"))
    panel.recent.record(event(organization="acme"))
    assert [e["organization"] for e in await messages(stream, 1)] == ["acme"]
    stream.close()


async def test_there_is_a_bound_to_watchers_and_leaving_makes_room(panel, client):
    first, second = await open_stream(client, panel), await open_stream(client, panel)
    third = await client.get("/api/events", headers={**panel.bearer(), "Accept": "text/event-stream"})
    assert (third.status, (await third.json())["code"]) == (503, "OVERLOADED")
    third.release()
    first.close()
    second.close()
    for _ in range(100):
        if not panel.recent._watchers:
            break
        await asyncio.sleep(0.05)  # nothing happens that would be written to them
    assert not panel.recent._watchers


async def test_a_reader_that_does_not_read_is_left_behind_and_let_go(panel, monkeypatch):
    monkeypatch.setattr("sidecar.admin.events.STALL", 0.3)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, ("127.0.0.1", panel.server.port))
    head = f"GET /api/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: {panel.bearer()['Authorization']}\r\n\r\n"
    await loop.sock_sendall(reader, head.encode())
    async with asyncio.timeout(20):
        while not panel.recent._watchers:  # noqa: ASYNC110  it happens on the other side of a socket
            await asyncio.sleep(0.01)
        while panel.recent._watchers:
            for _ in range(40):
                panel.recent.record(event(detail={"pad": "x" * 8000}))
            await asyncio.sleep(0.01)
    reader.close()


async def test_those_too_slow_are_told_how_much_they_missed(panel, client):
    stream = await open_stream(client, panel)
    await until_live(stream)
    for _ in range(100):
        panel.recent.record(event())  # 32 wait for a watcher
    (missed,) = await messages(stream, 1)
    assert missed == {"count": 68}
    assert [e["seq"] for e in await messages(stream, 32)] == list(range(69, 101))
    stream.close()


async def test_a_stream_ends_with_its_token(panel, client, monkeypatch):
    monkeypatch.setattr("sidecar.admin.events.LOOK", 0.05)
    stream = await open_stream(client, panel)
    await until_live(stream)
    panel.clock.advance(3601)
    async with asyncio.timeout(5):
        while await stream.content.readline():
            pass
    assert stream.content.at_eof()
    stream.close()


async def test_stopping_ends_streams_at_once():
    async with management() as panel, aiohttp.ClientSession(panel.base) as client:
        stream = await open_stream(client, panel)
        await until_live(stream)
        async with asyncio.timeout(3):
            await panel.server.stop()
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.content.read()
        stream.close()
