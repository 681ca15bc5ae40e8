"""Forwarding headers, read: `X-Forwarded-For` with `X-Forwarded-Proto`, and RFC 7239's `Forwarded`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sidecar.guards.clients.networks import Address, parse_address

HOPS: Final = 32
"""Hops that are looked at, from the nearest on; no honest chain is longer."""

LONGEST_ITEM: Final = 256
"""Characters of one hop's item; a longer one says nothing readable."""

PAIR = re.compile(r'\s*([A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')  # RFC 7239 §4


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy said of who connected to it; None is what it did not say, or not readably."""

    address: Address | None
    secure: bool | None = None


def x_forwarded_hops(addresses: bytes | None, scheme: bytes | None) -> list[Hop]:
    """Read the two lists, nearest hop first.

    Schemes belong to addresses one by one when there are as many of them; otherwise the nearest one,
    which a trusted proxy wrote, speaks for all.
    """
    said = [_secure(item) for item in _nearest_first(scheme)]
    found = [_node(item) for item in _nearest_first(addresses)]
    if len(said) != len(found):
        said = [said[0] if said else None] * len(found)
    return [Hop(address, secure) for address, secure in zip(found, said, strict=True)] or _scheme_only(scheme)


def forwarded_hops(value: bytes | None, scheme: bytes | None) -> list[Hop]:
    """Read `Forwarded`, nearest hop first; an `X-Forwarded-Proto` beside it speaks where it says nothing."""
    hops = []
    fallback = next((_secure(item) for item in _nearest_first(scheme)), None)
    for item in _nearest_first(value):
        pairs = {name.lower(): _unquoted(text) for name, text in PAIR.findall(item[:LONGEST_ITEM])}
        proto = pairs.get("proto", "").lower()
        secure = proto == "https" if proto else fallback
        hops.append(Hop(_node(pairs.get("for", "")), secure))
    return hops or _scheme_only(scheme)


def _scheme_only(scheme: bytes | None) -> list[Hop]:
    return [Hop(None, _secure(item)) for item in _nearest_first(scheme)[:1]]


def _nearest_first(value: bytes | None) -> list[str]:
    if value is None:
        return []
    items = value.decode("latin-1").rsplit(",", HOPS)
    return [item.strip() for item in reversed(items[-HOPS:])]


def _secure(item: str) -> bool | None:
    return {"https": True, "wss": True, "http": False, "ws": False}.get(item.lower())


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


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
