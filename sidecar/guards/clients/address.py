"""The client's address behind trusted proxies, and whether it is allowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Final, cast

from sidecar.bounded_cache import BoundedCache
from sidecar.decision import PASS, Decision, Detail, Finding, Pass, Refuse
from sidecar.errors import Problems
from sidecar.exchange import UNKNOWN_CLIENT, Client, Exchange
from sidecar.guards.clients.forwarded import ForwardedFields, Hop, forwarded_address, nearest_port
from sidecar.guards.clients.networks import (
    Address,
    Networks,
    build_networks,
    ipv4_number,
    is_private,
    parse_address,
    prefix_of,
)
from sidecar.head import RequestHead
from sidecar.stores.undeclared_proxies import UndeclaredProxies
from sidecar.vocabulary import Code, Event

CACHED: Final = 4 * 1024 * 1024
"""Bytes of clients that are remembered in each of the two caches."""

LONGEST_KEY: Final = 1024
"""Bytes of headers that are remembered: what a client put in front of them may be long."""

CLIENT: Final = 700
"""Bytes that one client takes: three texts, two objects."""

FORWARDING: Final = (b"x-forwarded-for", b"forwarded", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port")
"""In the order of the fields of ForwardedFields."""

UNIX_PEERS: Final = "unix"
"""Stands in `trusted_proxies` for the peers of Unix sockets, which have no address."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

DENIED = Refuse(Code.IP_BLOCKED, {"reason": "deny"})
NOT_LISTED = Refuse(Code.IP_BLOCKED, {"reason": "not on the allow list"})


def build_address(
    trusted_proxies: Sequence[str],
    ipv6_prefix: int,
    allow: Sequence[str],
    deny: Sequence[str],
    problems: Problems,
    proxies: UndeclaredProxies | None = None,
) -> AddressGuard:
    """Build the guard that must be asked first; `problems` is at `clients`.

    `proxies` is told of untrusted peers that send forwarding headers; None: they are not recorded.
    """
    networks = [text for text in trusted_proxies if text != UNIX_PEERS]
    trusted = build_networks(networks, problems.at("trusted_proxies"))
    if any(shift == 32 for shift, _ in trusted.v4) or any(shift == 128 for shift, _ in trusted.v6):
        problems.at("trusted_proxies").add(
            "trusts every peer, so that any client could choose its address", "write the networks of your proxies"
        )
    if not 32 <= ipv6_prefix <= 128:
        problems.at("ipv6_prefix").add(f"{ipv6_prefix} is not a prefix of one client", "write 64, or 32 to 128")
        ipv6_prefix = 64
    return AddressGuard(
        trusted,
        ipv6_prefix,
        build_networks(allow, problems.at("allow")),
        build_networks(deny, problems.at("deny")),
        proxies,
        trusts_unix=UNIX_PEERS in trusted_proxies,
    )


@dataclass  # not frozen: that would make each of its fields a call
class ForwardedAddress:
    """What a trusted proxy's headers come to; `secure` is None, and `host` empty, when they do not say."""

    client: Client
    secure: bool | None
    decision: Decision
    host: bytes = b""
    port: bytes = b""  # said without a host: it belongs to Host
    private: bool = False  # the peer's own address is not one of the internet's


class AddressGuard:
    """Set `exchange.client`, and from a trusted proxy's headers `secure` and `public_host`; refuse listed addresses.

    The headers of a peer that is not trusted decide nothing; that it sends them is noted. What a proxy says besides
    the address is alike for all of its clients and remembered, and so are chains of several addresses, because reading
    them takes longer than all other guards together. A lone IPv4 address is read each time: many clients have one each.
    """

    name = "address"
    varying = True

    def __init__(
        self,
        trusted: Networks,
        ipv6_prefix: int,
        allow: Networks,
        deny: Networks,
        proxies: UndeclaredProxies | None = None,
        *,
        trusts_unix: bool = False,
    ) -> None:
        self._trusted = trusted
        self._ipv6_prefix = ipv6_prefix
        self._allow = allow
        self._deny = deny
        self._lists = bool(allow) or bool(deny)
        self._proxies = proxies
        self._trusts_unix = trusts_unix
        self._peers: BoundedCache[str, ForwardedAddress] = BoundedCache(CACHED)
        self._forwarded: BoundedCache[tuple[bytes | str | None, ...], ForwardedAddress] = BoundedCache(CACHED)
        self._beside: BoundedCache[tuple[bytes | str | None, ...], ForwardedAddress] = BoundedCache(CACHED)

    def check(self, exchange: Exchange) -> Decision:
        """Find the client's address; refuse it with 403 when it is denied or not on the allow list."""
        found = self._peers.get(exchange.peer) or self._meet(exchange.peer)
        if found.client.trusted:
            return self._forwarded_by(exchange, found)
        exchange.client = found.client
        if self._proxies is not None:
            address = forwarded_address(exchange.head)
            if address is not None and self._proxies.note(exchange.peer, address, private=found.private):
                return _undeclared(found)
        return found.decision

    def _forwarded_by(self, exchange: Exchange, found: ForwardedAddress) -> Decision:
        """Go by the headers of a trusted proxy; without any, by its own address, as `found`."""
        get, peer = exchange.head.index.get, exchange.peer
        addresses = get(b"x-forwarded-for")
        number = ipv4_number(addresses.decode("latin-1")) if addresses is not None else -1
        if addresses is not None and number >= 0:
            beside = (peer, get(b"x-forwarded-proto"), get(b"x-forwarded-host"), get(b"x-forwarded-port"))
            said = self._beside.get(beside)
            if said is None:
                said = self._walk(peer, (peer, addresses, None, *beside[1:]))
                self._remember(self._beside, beside, said)
            _say(exchange, said)
            exchange.client = client = self._ipv4_client(addresses.decode("ascii"), number, trusted=True)
            return PASS if not client.refused else self._decide(client, IPv4Address(number))
        key = (peer, *[get(name) for name in FORWARDING])
        if key.count(None) < len(FORWARDING):
            known = self._forwarded.get(key)
            if known is None:
                known = self._walk(peer, key)
                self._remember(self._forwarded, key, known)
            found = known
            _say(exchange, found)
        exchange.client = found.client
        return found.decision

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`); an undeclared proxy's are counted."""
        found = self._peers.get(exchange.peer) or self._meet(exchange.peer)
        if found.client.trusted:
            return self._forwarded_by(exchange, found) is PASS
        return forwarded_address(exchange.head) is None and self.check(exchange) is PASS

    def trusts(self, peer: str) -> bool:
        """Return whether a peer is a trusted proxy."""
        return (self._peers.get(peer) or self._meet(peer)).client.trusted

    def client(self, address: Address, *, trusted: bool) -> Client:
        """Describe an address that was found to be the client."""
        text = str(address)
        if address.version == 4:
            return self._ipv4_client(text, int(address), trusted=trusted)
        subject = prefix_of(address, self._ipv6_prefix)
        network = subject if self._ipv6_prefix == 64 else prefix_of(address, 64)
        refused = address in self._deny or (bool(self._allow) and address not in self._allow)
        return Client(text, subject, network, trusted, refused, exempt=address in self._trusted)

    def _ipv4_client(self, text: str, number: int, *, trusted: bool) -> Client:
        refused = self._lists and (
            self._deny.holds(number, 4) or (bool(self._allow) and not self._allow.holds(number, 4))
        )
        network = text[: text.rindex(".")] + ".0/24"
        return Client(text, text, network, trusted, refused, self._trusted.holds(number, 4))

    def _meet(self, peer: str) -> ForwardedAddress:
        address = parse_address(peer)
        if address is None:
            # A Unix socket has no address: one subject for all of its clients, refused where an allow list is set.
            trusted = self._trusts_unix and peer == ""
            client = Client(
                UNKNOWN_CLIENT.address, "local", "local", trusted, bool(self._allow), trusted, uncounted=trusted
            )
            found = ForwardedAddress(client, None, self._decide(client, None))
        else:
            client = self.client(address, trusted=address in self._trusted)
            client = replace(client, uncounted=client.trusted)
            found = ForwardedAddress(client, None, self._decide(client, address), private=is_private(address))
        return self._peers.remember(peer, found, CLIENT)

    def _walk(self, peer: str, key: tuple[bytes | str | None, ...]) -> ForwardedAddress:
        """Follow the hops from the nearest outwards, as long as they are trusted."""
        fields = ForwardedFields(*cast(tuple[bytes | None, ...], key[1:]))
        nearest = parse_address(peer)
        hop = client_hop(fields.hops(), nearest, self._trusted)
        if hop.address is None:
            local = self._peers[peer]  # the proxy on a Unix socket names no client: the request is its own
            client, decision = local.client, local.decision
        else:
            client = self.client(hop.address, trusted=True)
            decision = self._decide(client, hop.address)
        port = b"" if hop.host else nearest_port(fields.port)
        return ForwardedAddress(client, hop.secure, decision, hop.host, port)

    @staticmethod
    def _remember(
        cache: BoundedCache[tuple[bytes | str | None, ...], ForwardedAddress],
        key: tuple[bytes | str | None, ...],
        found: ForwardedAddress,
    ) -> None:
        size = sum([len(value) for value in key if value is not None])
        if size <= LONGEST_KEY:
            cache.remember(key, found, CLIENT + size)

    def _decide(self, client: Client, address: Address | None) -> Decision:
        if not client.refused:
            return PASS
        return DENIED if address is not None and address in self._deny else NOT_LISTED


def _say(exchange: Exchange, found: ForwardedAddress) -> None:
    """Put on an exchange what a trusted proxy's headers say of scheme and host."""
    if found.secure is not None:
        exchange.secure = found.secure
    if found.host:
        exchange.public_host = found.host
    elif found.port:
        host = exchange.head.index.get(b"host", b"").lower()
        exchange.public_host = host if _has_port(host) else host + found.port


def _undeclared(found: ForwardedAddress) -> Decision:
    """Warn of a peer that forwards without being trusted; a refusal of its address says more."""
    if found.decision is not PASS:
        return found.decision
    detail: Detail = {"peer": found.client.address, "private": found.private, "key": "clients.trusted_proxies"}
    return Pass((Finding(Event.PROXY_UNDECLARED, detail),))


def client_hop(hops: Sequence[Hop], nearest: Address | None, trusted: Networks) -> Hop:
    """Return the first hop that is not trusted, nearest first; the outermost one when all are.

    A hop without a readable address (`unknown`, `_hidden`, invalid text) ends the search at the last address
    that a trusted proxy reported: addresses further out may be invented by the client.
    """
    found = Hop(nearest, hops[0].secure, hops[0].host) if hops else Hop(nearest)
    for hop in hops:
        if hop.address is None:
            return found
        found = hop
        if hop.address not in trusted:
            return found
    return found


def _has_port(host: bytes) -> bool:
    return b":" in host.rpartition(b"]")[2]


def accepted_request_id(head: RequestHead, *, trusted: bool) -> str:
    """Return the request id that a trusted proxy gave, "" when there is none to accept."""
    if not trusted:
        return ""
    presented = head.index.get(b"x-request-id")
    return presented.decode("ascii") if presented is not None and REQUEST_ID.fullmatch(presented) else ""
