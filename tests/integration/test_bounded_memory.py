"""Each table that is keyed by what clients send is filled from outside; the process grows by less than 40 MiB."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import LOOPBACK
from tests.support.raw import connect
from tests.support.sidecar import TRUSTED, Running, sidecar

MIB = 1 << 20
MOST = 40 * MIB
REQUESTS = 3000


def request(number: int, *lines: str, method: str = "GET", target: str = "/none", host: str = "chat.example") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def invented(number: int, size: int) -> str:
    return f"{number:08d}" + "a" * (size - 8)


def token(number: int) -> str:
    return ".".join(
        base64.urlsafe_b64encode(f"{number:06d}{'a' * 900}".encode()).decode().rstrip("=") for _ in range(3)
    )


# name → (request of a number, from a trusted proxy)
FILLS = {
    "preflight methods": (lambda n: request(n, "Origin: https://page.example", f"Access-Control-Request-Method: {invented(n, 29_000)}", method="OPTIONS"), False),
    "preflight headers": (lambda n: request(n, "Origin: https://page.example", "Access-Control-Request-Method: GET", f"Access-Control-Request-Headers: {invented(n, 29_000)}", method="OPTIONS"), False),
    "methods": (lambda n: request(n, method=f"M{invented(n, 60)}"), False),
    "paths": (lambda n: request(n, target=f"/{invented(n, 8000)}"), False),
    "paths that come again": (lambda n: request(n, target=f"/{invented(n // 2, 8000)}"), False),
    "heads that come again": (lambda n: request(n, f"X-A: {invented(n // 2, 14_000)}"), False),
    "short paths": (lambda n: request(n, target=f"/{invented(n, 400)}"), False),
    "queries": (lambda n: request(n, target=f"/none?{invented(n, 8000)}"), False),
    "origins": (lambda n: request(n, f"Origin: https://{invented(n, 250)}"), False),
    "subdomains of an allowed origin": (lambda n: request(n, f"Origin: https://a{n}.{invented(n, 60)}.preview.example"), False),
    "hosts": (lambda n: request(n, host=f"{invented(n, 60)}.example"), False),
    "long hosts": (lambda n: request(n, host=f"{'.'.join(['a' * 60] * 4)}.{invented(n, 40)}"), False),
    "header names": (lambda n: request(n, *[f"X-Forwarded-{invented(n * 20 + k, 900)}: 1" for k in range(20)]), False),
    "header lines": (lambda n: request(n, f"X-A: {invented(n, 29_000)}"), False),
    "user agents": (lambda n: request(n, f"User-Agent: {invented(n, 29_000)}"), False),
    "tokens": (lambda n: request(n, f"Authorization: Bearer {token(n)}"), False),
    "sessions": (lambda n: request(n, f"X-Session-ID: {invented(n, 20_000)}"), False),
    "cookies": (lambda n: request(n, f"Cookie: __Host-session={invented(n, 7000)}"), False),
    "clients": (lambda n: request(n, f"X-Forwarded-For: 203.{n >> 16}.{n >> 8 & 255}.{n & 255}"), True),
    "IPv6 clients": (lambda n: request(n, f"X-Forwarded-For: 2001:db8:{n:x}::1"), True),
    "chains": (lambda n: request(n, f"X-Forwarded-For: {invented(n, 900)}, 203.0.113.9"), True),
    "forwarded hosts": (lambda n: request(n, "X-Forwarded-For: 203.0.113.9", f"X-Forwarded-Host: {invented(n, 250)}"), True),
    "organizations": (lambda n: request(n, "X-Forwarded-For: 203.0.113.9", f"X-Org-ID: {invented(n, 60)}"), True),
    "request ids": (lambda n: request(n, "X-Forwarded-For: 203.0.113.9", f"X-Request-ID: {invented(n, 120)}"), True),
    "malformed": (lambda n: b"GET /%b HTTP/1.1\r\nHost: a b\r\n\r\n" % invented(n, 7000).encode(), False),
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Nothing reaches the backend: every request is refused or answered here, after all guards."""
    sections = {
        "unmatched": "deny",
        "cors": {"allowed_origins": ["https://page.example", "https://*.preview.example"]},
        "organizations": {"from": ["token", "header", "host"], "hosts": {"acme.example": "acme"}},
        "requests": {"hosts": ["chat.example", "*.example"]},
        "rate_limits": [{"name": "many", "per": "ip", "limit": 1_000_000, "window": "1m", "counts": "all"}],
        "clients": {"ban": None, "trusted_proxies": [TRUSTED]},
        "sessions": {"mode": "issue", "in": ["header:X-Session-ID", "cookie:__Host-session"]},
    }
    folder: Path = tmp_path_factory.mktemp("memory")
    env = {"JWT_SECRET": "an invented secret of forty characters.."}
    with sidecar(folder, "http://127.0.0.1:9", env, **sections) as running:
        flood(running, request, False, 500)  # what is loaded at first use does not count
        yield running


def flood(running: Running, build, trusted: bool, count: int = REQUESTS) -> None:
    """Send requests, a few at a time on one connection, and read the answers; a closed one is opened anew."""
    done = 0
    while done < count:
        with connect(running.public, TRUSTED if trusted else LOOPBACK) as client:
            sent = min(count - done, 1)
            while done < count:
                client.send(build(done))
                done += sent
                answer = client.response()
                if answer.get(b"connection") == b"close":
                    break


@pytest.mark.parametrize("name", FILLS)
def test_it_stays_small(guarded: Running, name: str):
    build, trusted = FILLS[name]
    before = guarded.resident()
    flood(guarded, build, trusted)
    assert guarded.resident() - before < MOST


def test_all_of_them_together(guarded: Running):
    before = guarded.resident()
    for build, trusted in FILLS.values():
        flood(guarded, build, trusted, 400)
    assert guarded.resident() - before < MOST
