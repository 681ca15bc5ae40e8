"""Pages of real chats load: what their first second asks for is neither refused nor held against anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_websockets import HANDSHAKE, TEXT, at_client, read, sent, switching
from tests.support.backends import Backend, Serving
from tests.support.raw import Message, Raw, get, post
from tests.support.refused import check_refusal
from tests.support.sidecar import TRUSTED, Running, sidecar, threaded

SCRIPT = "Sec-Fetch-Dest: script"
BAN = {"strikes": 20, "within": "1m", "for": "15m"}
LIMITS = [
    {"name": "ip-minute", "per": "ip", "limit": 60, "window": "1m"},
    {"name": "ip-hour", "per": "ip", "limit": 1000, "window": "1h"},
    {"name": "ip-all", "per": "ip", "limit": 3000, "window": "1m", "counts": "all"},
]


@contextmanager
def chat(folder: Path, proxies: list[str], **more: Any) -> Iterator[tuple[Running, Serving]]:
    clients = {"trusted_proxies": proxies, "ban": BAN}
    sections = {"rate_limits": LIMITS, "clients": clients, **more}
    with Serving() as backend, threaded(folder, backend.url, **sections) as running:
        yield running, backend


def statuses(client: Raw, raw: bytes, times: int) -> list[int]:
    return [client.send(raw).response().status for _ in range(times)]


def test_a_page_of_220_modules_loads_and_sixty_messages_follow(tmp_path: Path) -> None:
    with chat(tmp_path, []) as (running, _), running.connect() as client:
        assert statuses(client, get("/module.js", SCRIPT), 220) == [200] * 220
        assert statuses(client, post("/api/chat", b"{}"), 61) == [200] * 60 + [429]
        assert statuses(client, get("/module.js", SCRIPT), 20) == [200] * 20


def test_110_visitors_behind_a_proxy_load_their_pages_and_a_newcomer_too(tmp_path: Path) -> None:
    with chat(tmp_path, [f"{TRUSTED}/32"]) as (running, _), running.connect(TRUSTED) as proxy:
        for visitor in range(110):
            line = f"X-Forwarded-For: 198.51.100.{visitor}"
            assert statuses(proxy, get("/static.css", SCRIPT, line), 10) == [200] * 10
        assert statuses(proxy, get("/", "X-Forwarded-For: 203.0.113.7"), 30) == [200] * 30


def test_65_page_loads_behind_an_undeclared_private_proxy_are_served_and_warned_about_once(tmp_path: Path) -> None:
    with chat(tmp_path, ["10.9.9.9"]) as (running, _), running.connect() as proxy:
        for visitor in range(65):
            assert statuses(proxy, get("/", f"X-Forwarded-For: 198.51.100.{visitor}"), 4) == [200] * 4
        hidden = get("/api/%00chat", "X-Forwarded-For: 198.51.100.1")
        for _ in range(25):
            with running.connect() as other:
                assert other.send(hidden).response().status == 400
        assert statuses(proxy, get("/"), 1) == [200]
        warned = running.logged(event="PROXY_UNDECLARED")
        assert (warned["level"], warned["detail"]["peer"]) == ("warning", "127.0.0.1")
        assert sum(line.get("event") == "PROXY_UNDECLARED" for line in running.lines()) == 1
        assert running.metric("sidecar_undeclared_proxy_requests_total") == 65 * 4 + 25


def test_one_forwarded_address_exempts_no_peer(tmp_path: Path) -> None:
    with chat(tmp_path, ["10.9.9.9"]) as (running, _):
        codes = []
        for _ in range(22):
            with running.connect() as client:
                codes.append(client.send(get("/api/%00chat", "X-Forwarded-For: 198.51.100.1")).response().status)
        assert codes == [400] * 20 + [403] * 2


@pytest.mark.parametrize("times", [25])
def test_long_targets_are_no_strikes(tmp_path: Path, times: int) -> None:
    with chat(tmp_path, []) as (running, _):
        for _ in range(times):
            with running.connect() as client:
                assert client.send(get("/" + "a" * 9000)).response().status in (400, 414)
        with running.connect() as client:
            assert statuses(client, get("/"), 1) == [200]


def test_probes_of_a_trusted_proxy_are_not_counted(tmp_path: Path) -> None:
    limits = [{"name": "all", "per": "ip", "limit": 5, "window": "1h", "counts": "all"}]
    with chat(tmp_path, [f"{TRUSTED}/32"], rate_limits=limits) as (running, _), running.connect(TRUSTED) as proxy:
        assert statuses(proxy, get("/health"), 40) == [200] * 40
        assert statuses(proxy, post("/api/chat", b"{}"), 3) == [200] * 3
        visitor = get("/", "X-Forwarded-For: 198.51.100.1")
        assert statuses(proxy, visitor, 6) == [200] * 5 + [429]


def test_a_route_without_limits(tmp_path: Path) -> None:
    routes = [{"name": "free", "match": {"path": "/free"}, "rate_limits": "none"}]
    limits = [{"name": "one", "per": "ip", "limit": 1, "window": "1h"}]
    with chat(tmp_path, [], rate_limits=limits, routes=routes) as (running, _), running.connect() as client:
        assert statuses(client, post("/free", b"{}"), 5) == [200] * 5
        assert statuses(client, post("/other", b"{}"), 2) == [200, 429]


def test_a_client_that_asks_for_more_than_ten_times_its_limit_is_banned(tmp_path: Path) -> None:
    limits = [{"name": "few", "per": "ip", "limit": 3, "window": "1h"}]
    with chat(tmp_path, [], rate_limits=limits) as (running, _), running.connect() as client:
        codes = statuses(client, post("/api/chat", b"{}"), 52)
        assert codes == [200] * 3 + [429] * 27 + [429] * 20 + [403] * 2
        assert running.logged(event="IP_BANNED")["detail"]["code"] == "RATE_LIMIT_EXCEEDED"


# --- sockets ----------------------------------------------------------------------------------------------------


ROUTE = {
    "name": "live",
    "match": {"path": "/live"},
    "message": {"fields": ["$.message"], "max_chars": 100},
    "rate_limits": [{"name": "talk", "per": "ip", "limit": 2, "window": "1h"}],
}


def opened(backend: Backend, client: Raw) -> tuple[Raw, Message]:
    client.send(get("/live", *HANDSHAKE))
    behind = backend.accept()
    behind.send(switching(behind.request()))
    reply = client.head()
    assert reply.status == 101
    return behind, reply


def test_a_socket_counts_its_messages_and_not_its_handshake(tmp_path: Path) -> None:
    with Backend() as backend, sidecar(tmp_path, backend.url, routes=[ROUTE], rate_limits=LIMITS) as running:
        with running.connect() as client:
            for _ in range(3):
                with running.connect() as other:
                    opened(backend, other)
            behind, _ = opened(backend, client)
            for number in range(2):
                client.send(sent(TEXT, b'{"message":"hello"}'), sent(TEXT, b'{"seen":true}'))
                assert at_backend(behind) == b'{"message":"hello"}', number
                assert at_backend(behind) == b'{"seen":true}'
            client.send(sent(TEXT, b'{"message":"hello"}'), sent(TEXT, b'{"seen":true}'))
            opcode, told, _ = at_client(client)
            assert (opcode, json.loads(told)["code"]) == (TEXT, "RATE_LIMIT_EXCEEDED")
            assert at_backend(behind) == b'{"seen":true}'
        line = running.logged(event="RATE_LIMIT_EXCEEDED")
        assert (line["route"], line["status"], line["outcome"], line["detail"]["limit"]) == (
            "live",
            101,
            "refused",
            "talk",
        )
        with running.connect() as client:
            check_refusal(
                client.send(post("/live", b'{"message":"hello"}')).response(), 429, "RATE_LIMIT_EXCEEDED", origin=False
            )
        assert running.metric("sidecar_rate_limit_decisions_total", limit="talk", decision="allowed") == 2
        assert running.metric("sidecar_rate_limit_decisions_total", limit="talk", decision="refused") == 2


def at_backend(behind: Raw) -> bytes:
    return read(behind, masked=True)[1]


def test_undecodable_messages_of_a_socket_are_strikes(tmp_path: Path) -> None:
    with (
        Backend() as backend,
        sidecar(
            tmp_path, backend.url, routes=[ROUTE], rate_limits=[], clients={"trusted_proxies": [], "ban": BAN}
        ) as running,
    ):
        for _ in range(20):
            with running.connect() as client:
                opened(backend, client)
                client.send(sent(TEXT, b"{broken"))
                assert b"MESSAGE_INVALID" in at_client(client)[1]
        with running.connect() as client:
            check_refusal(client.send(get("/")).response(), 403, "IP_BLOCKED", origin=False)
