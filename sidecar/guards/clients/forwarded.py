"""Forwarding headers, read: the `X-Forwarded-*` lists, and RFC 7239's `Forwarded`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sidecar.guards.clients.networks import Address, parse_address
from sidecar.head import RequestHead

HOPS: Final = 32
"""Hops that are read, from the nearest on; real chains are shorter."""

LONGEST_ITEM: Final = 256
"""Characters of one hop's item; a longer one is not an address or host."""

PAIR = re.compile(r'\s*([A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')  # RFC 7239 §4


HOST = re.compile(r"([a-z0-9._~-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
LONGEST_HOST: Final = 270
"""A name of 253 characters (RFC 1035 §2.3.4), a port, and a little more."""

USUAL_PORTS: Final = frozenset({"80", "443"})
"""Ports that `X-Forwarded-Port` often names because the inner listener has them; a page's origin never does."""


@dataclass  # not frozen: that would make each of its fields a call
class Hop:
    """What one proxy reported about its client; None (or an empty host): not reported, or not readable.

    host  the Host that it was asked for, lower-case, with its port if that is not the scheme's own
    """

    address: Address | None
    secure: bool | None = None
    host: bytes = b""


@dataclass(frozen=True)
class ForwardedFields:
    """The values of the forwarding headers of one request, as they came; the key under which they are remembered."""

    addresses: bytes | None = None  # X-Forwarded-For
    forwarded: bytes | None = None
    scheme: bytes | None = None  # X-Forwarded-Proto
    host: bytes | None = None  # X-Forwarded-Host
    port: bytes | None = None  # X-Forwarded-Port

    def hops(self) -> list[Hop]:
        """Return the hops, nearest first.

        Proxies that append to one of `X-Forwarded-For` and `Forwarded` leave the other as a client sent
        it; far more append to the first.
        """
        if self.addresses is None and self.forwarded is not None:
            return forwarded_hops(self)
        return x_forwarded_hops(self)


def x_forwarded_hops(fields: ForwardedFields) -> list[Hop]:
    """Read the four lists, nearest hop first.

    Schemes, hosts and ports belong to addresses one by one when there are as many of them; otherwise
    the nearest one, which a trusted proxy wrote, counts for all.
    """
    found = [_node(item) for item in _nearest_first(fields.addresses)]
    # Without addresses, the peer's own report remains.
    count = len(found) or 1
    schemes = _aligned(_nearest_first(fields.scheme), count)
    hosts = _aligned(_nearest_first(fields.host), count)
    ports = _aligned(_nearest_first(fields.port), count)
    return [
        Hop(address, _secure(scheme), public_host(host, port))
        for address, scheme, host, port in zip(found or [None], schemes, hosts, ports, strict=True)
    ]


def forwarded_hops(fields: ForwardedFields) -> list[Hop]:
    """Read `Forwarded`, nearest hop first; what it leaves out is taken from the nearest `X-Forwarded-*`."""
    hops = []
    scheme = _aligned(_nearest_first(fields.scheme), 1)[0]
    host = _aligned(_nearest_first(fields.host), 1)[0]
    port = _aligned(_nearest_first(fields.port), 1)[0]
    for item in _nearest_first(fields.forwarded):
        pairs = {name.lower(): _unquoted(text) for name, text in PAIR.findall(item[:LONGEST_ITEM])}
        said = public_host(pairs.get("host", "")) or public_host(host, port)
        hops.append(Hop(_node(pairs.get("for", "")), _secure(pairs.get("proto") or scheme), said))
    return hops


def public_host(text: str, port: str = "") -> bytes:
    """Return a host that a browser may have been sent to, lower-case; b"" when it is none.

    port  joined where the host names none and a browser would name it
    """
    text = text.strip('"').lower()
    match = HOST.fullmatch(text) if len(text) <= LONGEST_HOST else None
    if match is None or int((match[2] or ":1")[1:]) > 65535:
        return b""
    name = match[1]
    if name.startswith("["):
        address = parse_address(name[1:-1])
        if address is None:
            return b""
        name = f"[{address}]" if address.version == 6 else str(address)
    if match[2]:
        return (name + match[2]).encode()
    return name.encode() + public_port(port)


def public_port(text: str) -> bytes:
    """Return `:8443` for a port that a browser would name; b"" for any other."""
    fine = text.isascii() and text.isdigit() and len(text) <= 5 and text not in USUAL_PORTS and 0 < int(text) <= 65535
    return b":%d" % int(text) if fine else b""


def nearest_port(value: bytes | None) -> bytes:
    """Return the port that the nearest proxy reported, as `public_port` does."""
    return public_port(_aligned(_nearest_first(value), 1)[0])


def _aligned(items: list[str], count: int) -> list[str]:
    return items if len(items) == count else [items[0] if items else ""] * count


def _nearest_first(value: bytes | None) -> list[str]:
    if value is None:
        return []
    items = value.decode("latin-1").rsplit(",", HOPS)
    return [item.strip() for item in reversed(items[-HOPS:])]


def _secure(item: str) -> bool | None:
    return {"https": True, "wss": True, "http": False, "ws": False}.get(item.lower())


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def forwarded_address(head: RequestHead) -> str | None:
    """Return whom the nearest hop names, "" if not readably; None when there is no forwarding header."""
    index = head.index
    for name in (b"x-forwarded-for", b"x-real-ip"):
        value = index.get(name)
        if value is not None:
            return _text(_node(value[-LONGEST_ITEM:].rpartition(b",")[2].strip().decode("latin-1")))
    value = index.get(b"forwarded")
    if value is None:
        return None
    hops = forwarded_hops(ForwardedFields(forwarded=value))
    return _text(hops[0].address if hops else None)


def _text(address: Address | None) -> str:
    return "" if address is None else str(address)


def _node(text: str) -> Address | None:
    """Read an address with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`."""
    if len(text) > LONGEST_ITEM:
        return None
    text = text.strip('"')
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        fine = bracket and (not port or (port.startswith(":") and port[1:].isdigit()))
        return parse_address(inside) if fine else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return parse_address(host) if port.isdigit() else None
    return parse_address(text)
