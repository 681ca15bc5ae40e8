"""Networks as integers, and chains of hops, each against the plain way."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.guards.clients.address import build_address
from sidecar.guards.clients.networks import Networks, build_networks, ipv4_number, parse_address, prefix_of
from tests.support.exchanges import exchange

addresses = st.one_of(
    st.ip_addresses(),
    st.integers(0, 1023).map(lambda low: ip_address((10 << 24) + low)),
    st.integers(0, 1023).map(lambda low: ip_address((0x20010DB8 << 96) + (low << 64))),
)
networks = st.builds(
    lambda address, length: ip_network((address, min(length, address.max_prefixlen)), strict=False),
    addresses,
    st.integers(0, 128),
)


@given(st.lists(networks, max_size=6), addresses)
def test_membership_agrees_with_the_plain_way(listed, address) -> None:
    plain = any(address in network for network in listed if network.version == address.version)
    assert (address in Networks.of(listed)) is plain


@given(st.lists(networks, max_size=6))
def test_what_is_written_is_read_back(listed) -> None:
    problems = Problems()
    read = build_networks([str(network) for network in listed], problems)
    assert not problems.found
    assert all(parse_address(str(network.network_address)) in read for network in listed)


@given(st.one_of(st.ip_addresses(v=4).map(str), st.text(alphabet="0123456789. x٣", max_size=17)))
def test_ipv4_numbers_agree_with_the_plain_way(text) -> None:
    try:
        expected = int(IPv4Address(text))
    except ValueError:
        expected = -1
    assert ipv4_number(text) == expected


@given(st.ip_addresses(v=6), st.integers(32, 128))
def test_prefixes_agree_with_the_plain_way(address, length) -> None:
    assert prefix_of(address, length) == str(ip_network((address, length), strict=False))


@given(st.text(alphabet="0123456789abcdef:.%[]/ x", max_size=40))
def test_no_text_raises(text) -> None:
    found = parse_address(text)
    assert found is None or parse_address(str(found)) == found


TRUSTED = ["10.0.0.1", "10.9.9.9", "2001:db8:ffff::1"]
STRANGERS = ["198.51.100.7", "203.0.113.1", "2001:db8:1::9"]
RUBBISH = ["", "unknown", "_x", "1.2.3", "[::1", "1.2.3.4:x", "a.b"]


@given(st.lists(st.sampled_from(TRUSTED + STRANGERS + RUBBISH), min_size=1, max_size=12))
def test_the_walk_agrees_with_the_plain_way(chain) -> None:
    expected = "10.0.0.1"
    for item in reversed(chain):
        if item in RUBBISH:
            break
        expected = item
        if item in STRANGERS:
            break
    made = build_address(["10.0.0.0/8", "2001:db8:ffff::/48"], 64, [], [], Problems())
    asked = exchange(peer="10.0.0.1", x_forwarded_for=", ".join(chain))
    made.check(asked)
    assert asked.client.address == expected
