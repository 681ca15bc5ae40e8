"""Sets of networks: integers by prefix length, so that a look-up costs one set probe per length in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import AF_INET, inet_pton
from typing import Final

from sidecar.errors import Problems

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_IPV4: Final = len("255.255.255.255")
MAPPED = IPv6Network("::ffff:0:0/96")


def ipv4_number(text: str) -> int:
    """Return the number of an IPv4 address, -1 for anything else; a tenth of the time that `ipaddress` takes."""
    if len(text) > LONGEST_IPV4 or not text.isascii():
        return -1
    try:
        return int.from_bytes(inet_pton(AF_INET, text), "big")
    except (OSError, ValueError):
        return -1


def parse_address(text: str) -> Address | None:
    """Read an address as people and proxies write it: zone dropped, IPv4-in-IPv6 unmapped; None if it is none."""
    number = ipv4_number(text)
    if number >= 0:
        return IPv4Address(number)
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if address.version == 6 and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


PRIVATE: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "100.64.0.0/10",  # RFC 6598
        "127.0.0.0/8", "::1/128",  # loopback
        "169.254.0.0/16", "fe80::/10",  # link-local
        "fc00::/7",  # RFC 4193
    )
)  # fmt: skip


def is_private(address: Address) -> bool:
    """Return whether an address cannot be one of the internet's."""
    return any(address in network for network in PRIVATE if network.version == address.version)


@dataclass(frozen=True)
class Networks:
    """An immutable set of networks of both versions.

    Each entry of `v4` and `v6` is (bits to shift away, the network numbers that are left).
    """

    v4: tuple[tuple[int, frozenset[int]], ...] = ()
    v6: tuple[tuple[int, frozenset[int]], ...] = ()
    listed: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Networks:
        """Group networks by their length."""
        grouped: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        names = []
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            grouped[network.version].setdefault(shift, set()).add(int(network.network_address) >> shift)
            names.append(str(network))
        v4, v6 = (tuple((shift, frozenset(found)) for shift, found in grouped[version].items()) for version in (4, 6))
        return cls(v4, v6, tuple(names))

    def __contains__(self, address: Address) -> bool:
        return self.holds(int(address), address.version)

    def holds(self, number: int, version: int) -> bool:
        """Return whether the address with this number is in one of the networks; `version` is 4 or 6."""
        return any(number >> shift in found for shift, found in (self.v4 if version == 4 else self.v6))

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)


def prefix_of(address: Address, length: int) -> str:
    """Return the network of this length that an IPv6 address is in (`2001:db8:1:2::/64`)."""
    shift = 128 - length
    return f"{IPv6Address(int(address) >> shift << shift)}/{length}"


def build_networks(texts: Sequence[str], problems: Problems) -> Networks:
    """Read networks and single addresses; report each that is not one under its index."""
    networks = (parse_network(text, problems.at(f"[{number}]")) for number, text in enumerate(texts))
    return Networks.of(network for network in networks if network is not None)


def parse_network(text: str, problems: Problems) -> Network | None:
    """Read one network, or report why it is none."""
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        problems.add(f"{text!r} is not an address or a network", "write 203.0.113.9, 203.0.113.0/24 or 2001:db8::/32")
        return None
    # 10.1.2.3/8 is more often a slip of the length than a wish for ten million addresses.
    if "/" in text and str(network.network_address) != str(ip_address(text.partition("/")[0].strip())):
        problems.add(f"{text!r} has bits set after its prefix", f"write {network}")
        return None
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network(f"{mapped}/{network.prefixlen - 96}")
    return network
