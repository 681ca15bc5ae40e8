"""Headers of the PROXY protocol, whole and in pieces."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from sidecar.proxy.codec.proxy_protocol import INCOMPLETE, BadHeader, ProxiedPeer, read_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def version_2(family: int, block: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def addresses(source: str, target: str) -> bytes:
    return ip_address(source).packed + ip_address(target).packed + struct.pack("!HH", 4711, 443)


V4, V6 = addresses("198.51.100.7", "10.0.0.1"), addresses("2001:db8::7", "2001:db8::1")
TLS = b"\x20\x00\x05\x01\x00\x00\x00\x00"

HEADERS = {
    "TCP4": (b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 443\r\n", ProxiedPeer("198.51.100.7")),
    "TCP6": (b"PROXY TCP6 2001:DB8::7 2001:db8::1 4711 443\r\n", ProxiedPeer("2001:db8::7")),
    "unknown": (b"PROXY UNKNOWN\r\n", ProxiedPeer()),
    "unknown with rest": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ProxiedPeer()),
    "2, TCP4": (version_2(0x11, V4), ProxiedPeer("198.51.100.7")),
    "2, TCP6": (version_2(0x21, V6), ProxiedPeer("2001:db8::7")),
    "2, with TLS": (version_2(0x11, V4 + b"\x03\x00\x04\x00\x00\x00\x00" + TLS), ProxiedPeer("198.51.100.7", True)),
    "2, with an authority": (version_2(0x11, V4 + b"\x02\x00\x01a"), ProxiedPeer("198.51.100.7")),
    "2, local": (version_2(0x00, b"", 0x20), ProxiedPeer()),
    "2, local with addresses": (version_2(0x11, V4, 0x20), ProxiedPeer()),
    "2, Unix": (version_2(0x31, bytes(216)), ProxiedPeer()),
    "2, unspecified": (version_2(0x00, b"odd"), ProxiedPeer()),
}


@pytest.mark.parametrize(("header", "peer"), HEADERS.values(), ids=HEADERS)
def test_headers(header, peer) -> None:
    assert read_header(header + b"GET / HTTP/1.1\r\n") == (len(header), peer)
    for end in range(1, len(header)):
        assert read_header(header[:end])[0] == INCOMPLETE


BAD = {
    "address": b"PROXY TCP4 198.51.100.256 10.0.0.1 1 2\r\n",
    "family": b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    "protocol": b"PROXY UDP4 198.51.100.7 10.0.0.1 1 2\r\n",
    "port": b"PROXY TCP4 198.51.100.7 10.0.0.1 01 2\r\n",
    "blanks": b"PROXY TCP4  198.51.100.7 10.0.0.1 1 2\r\n",
    "endless": b"PROXY " + b"a" * 120,
    "2, version": version_2(0x11, V4, 0x31),
    "2, command": version_2(0x11, V4, 0x22),
    "2, addresses": version_2(0x11, V4[:8]),
    "2, endless": SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 5000),
    "2, extensions": version_2(0x11, V4 + b"\x20\x00\x09\x01"),
}


@pytest.mark.parametrize("header", BAD.values(), ids=BAD)
def test_bad_headers(header) -> None:
    with pytest.raises(BadHeader):
        read_header(header)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"PROPFIND / HTTP/1.1", b"\x16\x03\x01", b"PROXYX", b"\r\n\r\nG"]
)
def test_no_header(data) -> None:
    assert read_header(data) == (0, ProxiedPeer())
