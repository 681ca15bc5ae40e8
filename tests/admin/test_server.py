"""The listener itself: probes, metrics, headers, bounds, in raw bytes where it matters."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess

import aiohttp
import pytest

from sidecar.admin.ports import Ports
from sidecar.admin.server import ManagementServer
from sidecar.errors import SidecarError, StoreUnavailable
from tests.support.facts import served
from tests.support.management import management


async def raw(panel, data, wait=5.0):
    """Send bytes; return what comes until the connection closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", panel.server.port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), wait)
    finally:
        writer.close()


async def test_probes_and_metrics_need_no_token(panel, client):
    for path in ("/metrics", "/livez", "/readyz"):
        async with client.get(path) as response:
            assert response.status == 200


async def test_not_ready_says_why(panel, client):
    panel.reasons[:] = ["draining"]
    async with client.get("/readyz") as response:
        assert (response.status, await response.json()) == (503, {"status": "not ready", "reasons": ["draining"]})
    async with client.get("/livez") as response:
        assert response.status == 200
    panel.reasons.clear()
    async with client.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})


async def test_promtool_accepts_what_is_scraped(panel, client):
    panel.metrics.served(served())
    async with client.get("/api/events"):
        pass
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = await response.text()
    assert 'sidecar_security_events_total{event="AUTH_FAILED",outcome="refused",route="unmatched"} 1.0' in text
    promtool = shutil.which("promtool")
    assert promtool, "promtool is needed: apt-get install prometheus"
    said = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


async def test_openmetrics_when_asked(panel, client):
    async with client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert (await response.text()).endswith("# EOF\n")


async def test_scrapes_wait_for_one_another_within_a_bound():
    class Slow:
        def read(self):
            return None

        def render(self, accept, reading):
            import time

            time.sleep(0.2)
            return b"", "text/plain"

    async with management(metrics=Slow()) as panel, aiohttp.ClientSession(panel.base) as client:

        async def scrape():
            async with client.get("/metrics") as response:
                return response.status

        assert sorted(await asyncio.gather(*[scrape() for _ in range(6)])) == [200, 200, 200, 200, 503, 503]


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/api/bans", "/nothing", "/console/", "/"])
async def test_every_answer_carries_the_headers_and_names_no_software(panel, client, path):
    async with client.get(path, allow_redirects=False) as response:
        headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Request-ID"].startswith("mgmt-")
    assert "Server" not in headers
    assert not [name for name in headers if name.startswith("Access-Control")]


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "a bad header": b"GET /livez HTTP/1.1\r\nHost: x\r\nbad header: <script>\r\n\r\n",
    "both lengths": b"POST /api/bans HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_what_the_parser_refuses_is_answered_in_our_words(panel, data):
    head, _, body = (await raw(panel, data)).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"Server:" not in head
    assert b"X-Frame-Options: DENY" in head
    assert json.loads(body)["code"] == "REQUEST_MALFORMED"
    assert b"script" not in body
    assert panel.recorder.names() == ["REQUEST_MALFORMED"]


async def test_a_body_has_a_bound(panel, client):
    async with client.post(
        "/api/bans", data=b"x" * 70_000, headers={**panel.bearer(), "Content-Type": "application/json"}
    ) as r:
        assert (r.status, (await r.json())["code"]) == (413, "BODY_TOO_LARGE")


BODIES = {
    "no JSON": b"{",
    "a list": b"[]",
    "a key twice": b'{"ip": "192.0.2.1", "ip": "192.0.2.2"}',
    "a key too many": b'{"ip": "192.0.2.1", "second": 5}',
    "too deep": b"[" * 30_000,
    "another type": b'{"ip": 5}',
    "true for a number": b'{"ip": "192.0.2.1", "seconds": true}',
    "no address": b'{"ip": "not an address"}',
    "a number out of bounds": b'{"ip": "192.0.2.1", "seconds": 0}',
    "not UTF-8": b'{"ip": "\xff"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_wrong_body_is_refused(panel, client, body):
    headers = {**panel.bearer(), "Content-Type": "application/json"}
    async with client.post("/api/bans", data=body, headers=headers) as response:
        assert (response.status, (await response.json())["code"]) == (400, "REQUEST_MALFORMED")
    assert panel.bans.count() == 0


async def test_only_json_is_a_body(panel, client):
    async with client.post("/api/bans", data={"ip": "192.0.2.1"}, headers=panel.bearer()) as response:
        assert (response.status, (await response.json())["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_unknown_paths_and_methods(panel, client):
    async with client.get("/api/none", headers=panel.bearer()) as response:
        assert (response.status, (await response.json())["code"]) == (404, "NOT_FOUND")
    async with client.put("/api/bans", headers=panel.bearer()) as response:
        assert (response.status, response.headers["Allow"]) == (405, "DELETE, GET, POST")
    async with client.post("/metrics") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    async with client.get("/console/../api.py") as response:
        assert response.status == 404


async def test_problem_details_when_asked(panel, client):
    async with client.get("/api/bans", headers={"Accept": "application/problem+json"}) as response:
        assert response.content_type == "application/problem+json"
        answer = json.loads(await response.read())
    assert (answer["status"], answer["code"], answer["request_id"]) == (
        401,
        "AUTH_FAILED",
        response.headers["X-Request-ID"],
    )


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_pages_of_other_sites_get_nothing(panel, client, site):
    async with client.get("/api/bans", headers={**panel.bearer(), "Sec-Fetch-Site": site}) as response:
        assert (response.status, (await response.json())["code"]) == (403, "CSRF_BLOCKED")


async def test_an_unexpected_exception_is_a_500_without_its_text(caplog):
    class Broken:
        async def list(self, now):
            raise RuntimeError("the password is hunter2")

    async with management(bans=Broken()) as panel, aiohttp.ClientSession(panel.base) as client:
        response = await client.get("/api/bans", headers=panel.bearer())
        assert (response.status, (await response.json())["code"]) == (500, "INTERNAL_ERROR")
        assert "hunter2" not in await response.text()
        assert panel.recorder.events[-1].outcome == "failed"
    assert "RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_store_that_is_away_is_a_503():
    class Away:
        async def list(self, now):
            raise StoreUnavailable("redis does not answer")

    async with management(bans=Away()) as panel, aiohttp.ClientSession(panel.base) as client:
        response = await client.get("/api/bans", headers=panel.bearer())
        assert (response.status, (await response.json())["code"]) == (503, "STORE_UNAVAILABLE")


async def test_nothing_is_done_without_its_audit_entry(panel, client):
    panel.book.is_away = True
    async with client.post("/api/bans", json={"ip": "192.0.2.1"}, headers=panel.bearer()) as response:
        assert response.status == 503
    assert panel.bans.count() == 0


async def test_guessing_is_slowed_down(panel, client):
    statuses = []
    for n in range(25):
        async with client.get("/api/bans", headers={"Authorization": f"Bearer guess-{n}"}) as response:
            statuses.append(response.status)
    assert statuses == [401] * 20 + [429] * 5
    assert int(response.headers["Retry-After"]) > 0
    assert len(panel.book.entries) == 20, "a flood of guesses does not fill the audit log"
    async with client.get("/api/bans", headers=panel.bearer()) as response:
        assert response.status == 200, "guesses from the same address lock no caller out"


async def test_a_port_that_is_taken_is_one_clear_line(panel: object):
    parts: Ports = panel.parts
    with pytest.raises(SidecarError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*in use"):
        await ManagementServer(parts, "127.0.0.1", panel.server.port).start()


async def test_there_is_a_bound_to_connections(panel, monkeypatch):
    monkeypatch.setattr("sidecar.admin.server.MAX_CONNECTIONS", 3)
    held = [await asyncio.open_connection("127.0.0.1", panel.server.port) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert await raw(panel, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    for _, writer in held:
        writer.close()


async def test_a_half_sent_head_does_not_stay(monkeypatch):
    monkeypatch.setattr("sidecar.admin.server.IDLE", 0.2)
    async with management() as panel:
        assert await raw(panel, b"GET /livez HTTP/1.1\r\nHost:") == b""


async def test_a_scraper_that_does_not_read_does_not_stay(monkeypatch):
    class Large:
        def read(self):
            return None

        def render(self, accept, reading):
            return b"x" * 16_000_000, "text/plain"

    monkeypatch.setattr("sidecar.admin.server.SENDING", 0.3)
    async with management(metrics=Large()) as panel:
        _, writer = await asyncio.open_connection("127.0.0.1", panel.server.port, limit=1024)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        server = panel.server._runner.server
        async with asyncio.timeout(10):
            while not server.connections:  # noqa: ASYNC110  it happens on the other side of a socket
                await asyncio.sleep(0.01)
            while server.connections:  # noqa: ASYNC110  likewise
                await asyncio.sleep(0.01)
        writer.close()


async def test_one_peer_alone_does_not_keep_others_out(panel, monkeypatch):
    monkeypatch.setattr("sidecar.admin.server.MAX_PER_PEER", 3)
    crowd = [
        await asyncio.open_connection("127.0.0.1", panel.server.port, local_addr=("127.0.0.5", 0)) for _ in range(3)
    ]
    extra, closing = await asyncio.open_connection("127.0.0.1", panel.server.port, local_addr=("127.0.0.5", 0))
    assert await extra.read() == b""
    probe, asking = await asyncio.open_connection("127.0.0.1", panel.server.port, local_addr=("127.0.0.6", 0))
    asking.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await probe.read()).startswith(b"HTTP/1.1 200")
    for writer in (*(writer for _, writer in crowd), closing, asking):
        writer.close()
