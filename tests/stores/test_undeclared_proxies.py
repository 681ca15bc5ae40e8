"""Peers that forward without being trusted: warned about once, exempt only where a header could not buy it."""

from __future__ import annotations

import pytest

from sidecar.stores.undeclared_proxies import UndeclaredProxies

ONE, TWO = "198.51.100.1", "198.51.100.2"


@pytest.mark.parametrize(
    ("private", "addresses", "probable"),
    [
        pytest.param(True, [ONE, TWO], True, id="a private peer with two clients"),
        pytest.param(True, [ONE, ONE, ONE], False, id="a private peer that repeats itself"),
        pytest.param(True, ["", ONE, ""], False, id="nothing readable and one address"),
        pytest.param(True, ["", ONE, TWO], True, id="nothing readable, then two addresses"),
        pytest.param(False, [ONE, TWO], False, id="a public peer buys nothing"),
        pytest.param(True, [], False, id="a peer that forwards nothing"),
    ],
)
def test_who_is_probably_a_proxy(private, addresses, probable) -> None:
    proxies = UndeclaredProxies()
    first = [proxies.note("peer", address, private=private) for address in addresses]
    assert first == [True, *[False] * len(addresses)][: len(addresses)]
    assert (proxies.requests, proxies.is_probable("peer")) == (len(addresses), probable)


def test_the_tables_are_bounded_and_public_peers_cannot_crowd_out_private_ones() -> None:
    proxies = UndeclaredProxies(most=3)
    assert [proxies.note(f"203.0.113.{number}", ONE, private=False) for number in range(5)] == [True] * 3 + [False] * 2
    assert [proxies.note(f"10.0.0.{number}", ONE, private=True) for number in range(5)] == [True] * 3 + [False] * 2
    proxies.note("10.0.0.1", TWO, private=True)
    assert proxies.is_probable("10.0.0.1")
    assert not proxies.is_probable("10.0.0.4")
    assert proxies.requests == 11
    assert len(proxies.peers()) == 6
