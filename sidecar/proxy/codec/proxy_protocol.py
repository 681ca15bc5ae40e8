"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): for whom a proxy connects. Pure."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

LONGEST: Final = 4096
"""Bytes of a header with its extensions; version 1 has at most 107."""
_LONGEST_1: Final = 107
_SIGNATURE_1: Final = b"PROXY "
_SIGNATURE_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_PORT: Final = rb"(?:0|[1-9][0-9]{0,4})"
_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) " + _PORT + rb" " + _PORT)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?")
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_SSL: Final = 0x20  # PP2_TYPE_SSL
_CLIENT_SSL: Final = 0x01


class BadHeader(Exception):
    """The bytes begin like a header, and are none."""


@dataclass(frozen=True, slots=True)
class ProxiedPeer:
    """What a header says: the client's address, "" for the proxy's own connections; whether the client spoke TLS."""

    address: str = ""
    secure: bool | None = None


INCOMPLETE: Final = -1
"""More bytes may make a header of these."""


def read_header(data: bytes) -> tuple[int, ProxiedPeer]:
    """Return the header's length and what it says: 0 where there is none, INCOMPLETE where more is needed."""
    for signature, read in ((_SIGNATURE_1, _version_1), (_SIGNATURE_2, _version_2)):
        if data.startswith(signature):
            return read(data)
        if signature.startswith(data):
            return INCOMPLETE, ProxiedPeer()
    return 0, ProxiedPeer()


def _version_1(data: bytes) -> tuple[int, ProxiedPeer]:
    end = data.find(b"\r\n", 0, _LONGEST_1)
    if end < 0:
        if len(data) >= _LONGEST_1:
            raise BadHeader("too long")
        return INCOMPLETE, ProxiedPeer()
    line = data[:end]
    if _UNKNOWN.fullmatch(line):
        return end + 2, ProxiedPeer()
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadHeader("version 1")
    try:
        address = ip_address(match[2].decode())
        ip_address(match[3].decode())
    except ValueError:
        raise BadHeader("address") from None
    if address.version != (4 if match[1] == b"TCP4" else 6):
        raise BadHeader("address family")
    return end + 2, ProxiedPeer(str(address))


def _version_2(data: bytes) -> tuple[int, ProxiedPeer]:
    if len(data) < 16:
        return INCOMPLETE, ProxiedPeer()
    command, family, length = struct.unpack("!BBH", data[12:16])
    if command >> 4 != 2 or command & 0x0F > 1:
        raise BadHeader("version 2")
    size = 16 + length
    if size > LONGEST:
        raise BadHeader("too long")
    if len(data) < size:
        return INCOMPLETE, ProxiedPeer()
    if command & 0x0F == 0:
        return size, ProxiedPeer()  # LOCAL: the proxy's own, such as a health check
    block = data[16:size]
    if family == _TCP4 and length >= 12:
        address, rest = str(IPv4Address(block[:4])), block[12:]
    elif family == _TCP6 and length >= 36:
        address, rest = str(IPv6Address(block[:16])), block[36:]
    elif family in (_TCP4, _TCP6):
        raise BadHeader("addresses")
    else:
        return size, ProxiedPeer()
    return size, ProxiedPeer(address, _speaks_tls(rest))


def _speaks_tls(extensions: bytes) -> bool | None:
    """Return what the extensions say of the client's TLS; None when they say nothing."""
    while len(extensions) >= 3:
        kind, length = struct.unpack("!BH", extensions[:3])
        value, extensions = extensions[3 : 3 + length], extensions[3 + length :]
        if len(value) < length:
            raise BadHeader("extensions")
        if kind == _SSL and length >= 5:
            return value[0] & _CLIENT_SSL != 0
    return None
