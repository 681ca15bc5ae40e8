"""Origins: the patterns of a policy, and what a browser sends, matched byte for byte.

An origin in a request is compared as it was sent, not normalized: a browser sends exactly one
spelling of each origin (RFC 6454 §6.2), so equality of bytes is the test, and wildcards match labels only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from publicsuffixlist import PublicSuffixList

from sidecar.bounded_cache import BoundedCache
from sidecar.errors import Problems

CACHED: Final = 256 * 1024
"""Bytes of comparisons that are remembered."""

DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
PATTERN = re.compile(r"([a-z][a-z0-9+.-]*)://(\*\.)?(\[[0-9A-Fa-f:.]*\]|[^/:\[\]@?#\\\s*]+)(?::(\*|[0-9]{1,5}))?")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
SUBDOMAINS = re.compile(rb"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+")
PORT = re.compile(rb":[1-9][0-9]{0,4}")
LONGEST_HOST: Final = 253  # RFC 1035 §2.3.4, as text
LONGEST_ORIGIN: Final = 300


@dataclass(frozen=True)
class OriginPattern:
    """One allowed origin.

    scheme, host and port as a browser would spell them; `subdomains` stands for `*.` before the host
    (one label or more, never none), `any_port` for `:*`; port "" is the scheme's own.
    """

    scheme: str
    host: str
    port: str = ""
    subdomains: bool = False
    any_port: bool = False

    @property
    def exact(self) -> bool:
        """Whether the pattern matches one origin only, so that a set can be asked."""
        return not (self.subdomains or self.any_port)

    def spelled(self) -> str:
        """Return the pattern as it should be in a policy."""
        port = ":*" if self.any_port else f":{self.port}" if self.port else ""
        return f"{self.scheme}://{'*.' if self.subdomains else ''}{self.host}{port}"

    def matches(self, origin: bytes) -> bool:
        """Return whether an origin, as sent, is one of those that the pattern stands for."""
        start = f"{self.scheme}://".encode()
        if len(origin) > LONGEST_ORIGIN or not origin.startswith(start):
            return False
        rest = origin[len(start) :]
        host = self.host.encode()
        if self.subdomains:
            cut = rest.rfind(host)
            if cut <= 0 or SUBDOMAINS.fullmatch(rest, 0, cut) is None or cut + len(host) > LONGEST_HOST:
                return False
            port = rest[cut + len(host) :]
        elif rest.startswith(host):
            port = rest[len(host) :]
        else:
            return False
        if self.any_port:
            return port == b"" or self._is_a_port(port)
        return port == (f":{self.port}".encode() if self.port else b"")

    def _is_a_port(self, port: bytes) -> bool:
        fine = PORT.fullmatch(port) is not None and int(port[1:]) <= 65535
        return fine and port[1:].decode() != DEFAULT_PORTS.get(self.scheme)


def build_pattern(text: str, problems: Problems, *, insecure: bool = False) -> OriginPattern | None:
    """Read one entry of `allowed_origins`, or report what is wrong with it and what to write.

    `insecure` lets plain http in for hosts other than this machine.
    """
    found = PATTERN.fullmatch(text)
    if found is None:
        problems.add(f"{text!r} is not an origin", _instead(text))
        return None
    scheme, wildcard, host, port = found.group(1), bool(found.group(2)), found.group(3), found.group(4) or ""
    before = len(problems.found)
    if scheme in {"file", "data", "blob", "about", "javascript"}:
        problems.add(f"{scheme}: has no origin of its own, browsers send null", "serve the page over https")
    _check_host(host, wildcard, problems)
    _check_port(text, scheme, port, problems)
    pattern = OriginPattern(scheme, host, "" if port == "*" else port, wildcard, port == "*")
    if len(problems.found) == before and scheme == "http" and not insecure and not is_loopback(host):
        problems.add(
            f"{text!r} is plain http: anyone on the network path can act as this origin",
            f"write https{text[4:]}, or set dangerously_allow_insecure_origins",
        )
    return pattern if len(problems.found) == before else None


def _instead(text: str) -> str:
    """Guess what an entry that is no origin was meant to be."""
    plain = text.strip()
    if "://" not in plain:
        name = plain.split("/")[0].lower()
        return (
            f"write https://{name}" if "." in name and ":" not in name else "write scheme://host, or scheme://host:port"
        )
    scheme, _, rest = plain.partition("://")
    if "*" in rest and not rest.startswith("*.") and not rest.endswith(":*"):
        return "a wildcard stands for whole labels at the front: write https://*.example.com"
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2].lower()
    suggestion = f"{scheme.lower()}://{_ascii(authority)}"
    return f"write {suggestion}" if PATTERN.fullmatch(suggestion) else "write scheme://host, or scheme://host:port"


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _check_host(host: str, wildcard: bool, problems: Problems) -> None:
    if host.startswith("["):
        _check_ipv6(host, wildcard, problems)
        return
    if not host.isascii():
        problems.add(f"{host!r} is not in the form that browsers send", f"write {_ascii(host)}")
        return
    if host != host.lower():
        problems.add(f"{host!r} has capitals, browsers send none", f"write {host.lower()}")
        return
    labels = host.removesuffix(".").split(".")
    if len(host) > LONGEST_HOST - 2 * wildcard or not all(LABEL.fullmatch(label) for label in labels):
        problems.add(f"{host!r} is not a host name", "write a name such as chat.example.com")
    elif re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        # The host parser of browsers (WHATWG URL §3.5) takes a name that ends in a number for an IPv4 address.
        if wildcard:
            problems.add("an address has no subdomains", "write the address without `*.`")
        elif not _is_ipv4(host):
            problems.add(f"{host!r} is not an IPv4 address", "write it as 192.0.2.1")
    elif wildcard and is_public_suffix(host.removesuffix(".")):
        problems.add(
            f"anyone can register a name under {host!r}, and the wildcard would allow them all",
            f"write https://*.your-name.{host}",
        )


def _check_ipv6(host: str, wildcard: bool, problems: Problems) -> None:
    try:
        address = IPv6Address(host[1:-1])
    except ValueError:
        problems.add(f"{host!r} is not an IPv6 address", "write it as [2001:db8::1]")
        return
    if wildcard:
        problems.add("an address has no subdomains", "write the address without `*.`")
    if f"[{address}]" != host:
        problems.add(f"{host!r} is not spelled as browsers spell it", f"write [{address}]")


def _check_port(text: str, scheme: str, port: str, problems: Problems) -> None:
    if port in ("", "*"):
        return
    if port == DEFAULT_PORTS.get(scheme):
        problems.add(f"{port} is the port of {scheme} anyway, browsers leave it out", f"write {text[: -len(port) - 1]}")
    elif port.startswith("0") or int(port) > 65535:
        problems.add(f"{port} is not a port", "write 1 to 65535, without leading zeros")


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, so that plain http stays on it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@cache
def _suffixes() -> PublicSuffixList:
    # Names that the list does not know (`corp`, `internal`) are the operator's own; they cannot be registered.
    return PublicSuffixList(accept_unknown=False)


def is_public_suffix(host: str) -> bool:
    """Return whether the public can register names directly below a host (`com`, `co.uk`, `github.io`)."""
    return bool(_suffixes().is_public(host))


class SameOrigin:
    """Compare an Origin with the public host and the public scheme, remembering what was compared."""

    def __init__(self) -> None:
        self._known: BoundedCache[tuple[bytes, bytes, bool], bool] = BoundedCache(CACHED)

    def holds(self, origin: bytes, host: bytes | None, *, secure: bool) -> bool:
        """Return whether `origin` is the public origin; False without a host, or when both exceed 600 bytes."""
        if not host or len(origin) + len(host) > 600:
            return False
        key = (origin, host, secure)
        known = self._known.get(key)
        if known is None:
            verdict = is_same_origin(origin, host, secure=secure)
            known = self._known.remember(key, verdict, len(origin) + len(host))
        return known


def is_same_origin(origin: bytes, host: bytes, *, secure: bool) -> bool:
    """Return whether an Origin's host and port are the public ones, and its scheme is not weaker than ours.

    An https Origin at a plain listener is fine: the proxy in front that ended TLS need not be one that
    we trust to say so. A Host without a port means the port of the Origin's own scheme.
    """
    scheme, separator, authority = origin.partition(b"://")
    if not separator or scheme not in (b"http", b"https") or (secure and scheme == b"http"):
        return False
    default = b":443" if scheme == b"https" else b":80"
    # Browsers leave their default port out of Origin; Host may spell it, and in capitals.
    return authority != b"" and authority == host.lower().removesuffix(default)
