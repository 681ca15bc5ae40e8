"""The backend's own address in its answers; the rest is in tests/integration/test_inner_addresses.py."""

from __future__ import annotations

import pytest

from sidecar.guards.response_headers.backend_urls import BackendUrls
from tests.support.exchanges import exchange

CASES = {
    # scheme, authority, what it says, what the client receives at chat.example.com over https
    "default port left out": (b"http", b"app.internal", b"http://app.internal/a", b"https://chat.example.com/a"),
    "default port spelled": (b"http", b"app.internal", b"http://app.internal:80/a", b"https://chat.example.com/a"),
    "https inside": (b"https", b"app.internal", b"https://app.internal:443/a", b"https://chat.example.com/a"),
    "the other scheme": (b"http", b"app.internal:3001", b"https://App.Internal:3001/", b"https://chat.example.com/"),
    "IPv6": (b"http", b"[::1]:3001", b"http://[::1]:3001/a", b"https://chat.example.com/a"),
    "loopback by name": (b"http", b"[::1]:3001", b"http://localhost:3001/a", b"https://chat.example.com/a"),
    "a name is not loopback": (b"http", b"app.internal:3001", b"http://localhost:3001/a", b"http://localhost:3001/a"),
    "another port": (b"http", b"app.internal:3001", b"http://app.internal:3002/", b"http://app.internal:3002/"),
    "userinfo": (b"http", b"app.internal", b"http://app.internal@evil/", b"http://app.internal@evil/"),
}


@pytest.mark.parametrize(("scheme", "authority", "said", "heard"), CASES.values(), ids=CASES)
def test_locations(scheme, authority, said, heard) -> None:
    urls = BackendUrls(scheme, authority)
    line = (b"location", b"Location: " + said)
    assert urls.rewritten([line], exchange(secure=True)) == [(b"location", b"Location: " + heard)]


def test_without_a_public_host_nothing_is_rewritten() -> None:
    urls = BackendUrls(b"http", b"app.internal")
    line = (b"location", b"Location: http://app.internal/")
    assert urls.rewritten([line], exchange(host="")) == [line]


COOKIES = {
    "its own host": (b"a=1; Domain=app.internal; Path=/", b"a=1; Path=/"),
    "with a dot": (b"a=1; domain=.APP.internal", b"a=1"),
    "a parent of it": (b"a=1; Domain=internal; Secure", b"a=1; Secure"),
    "the public host": (b"a=1; Domain=example.com", b"a=1; Domain=example.com"),
    "a foreign one": (b"a=1; Domain=other.example", b"a=1; Domain=other.example"),
    "a value": (b"a=domain=app.internal", b"a=domain=app.internal"),
}


@pytest.mark.parametrize(("said", "heard"), COOKIES.values(), ids=COOKIES)
def test_domains_of_cookies(said, heard) -> None:
    assert BackendUrls(b"http", b"app.internal:3001").cookie(said, exchange()) == heard
