"""Replaces a backend's own address in its responses by the public one, for backends that receive their inner Host."""

from __future__ import annotations

import re
from typing import Final

from sidecar.exchange import Exchange
from sidecar.head import Fields

_AT_START: Final = frozenset({b"location", b"content-location"})
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_LOOPBACK: Final = frozenset({b"127.0.0.1", b"localhost", b"[::1]", b"0.0.0.0"})


class BackendUrls:
    """Rewrite `Location`, `Content-Location`, `Refresh`, `Link` and the `Domain` of cookies to the public host.

    Used where `preserve_host` is false: such a backend knows itself by the address in its URL alone.

    authority  host and port of the backend, the port left out if it is the scheme's own
    """

    def __init__(self, scheme: bytes, authority: bytes) -> None:
        authority = authority.lower()
        self._host = authority if authority.endswith(b"]") else authority.rpartition(b":")[0] or authority
        default = _DEFAULT_PORTS[scheme]
        port = authority[len(self._host) :] or default
        hosts = _LOOPBACK if self._host in _LOOPBACK else {self._host}
        ports = b"(?::443)?" if port == b":443" else b"(?::80)?" if port == b":80" else re.escape(port)
        # With the scheme, or without one (`//host/path`): what follows must end the authority.
        names = b"|".join(sorted(re.escape(host) for host in hosts))
        inner = rb"(?:https?:)?//(?:" + names + b")" + ports + rb"(?=[/?#>\"'\s;,]|$)"
        self._start = re.compile(inner, re.IGNORECASE)
        self._refresh = re.compile(rb"(^[^;,]*[;,]\s*(?:url\s*=\s*)?[\"']?)" + inner, re.IGNORECASE)
        self._link = re.compile(rb"(<\s*)" + inner, re.IGNORECASE)

    def rewritten(self, lines: Fields, exchange: Exchange) -> Fields:
        """Return (lower-case name, line) pairs with the public origin in place of the backend's own."""
        host = exchange.host
        if not host:
            return lines
        origin = (b"https://" if exchange.secure else b"http://") + host
        return [(name, self._line(name, line, origin)) for name, line in lines]

    def _line(self, name: bytes, line: bytes, origin: bytes) -> bytes:
        if name in _AT_START:
            label, _, value = line.partition(b":")
            value = value.strip(b" \t")
            match = self._start.match(value)
            return line if match is None else label + b": " + origin + value[match.end() :]
        if name == b"link":
            return self._link.sub(lambda match: match[1] + origin, line)
        if name == b"refresh":
            label, _, value = line.partition(b":")
            return label + b": " + self._refresh.sub(lambda match: match[1] + origin, value.strip(b" \t"), count=1)
        return line

    def cookie(self, value: bytes, exchange: Exchange) -> bytes:
        """Return a Set-Cookie value without a Domain that belongs to the backend's host and not to the public one."""
        if b"domain" not in value.lower():
            return value
        kept = [part for part in value.split(b";") if not self._is_foreign(part, exchange.host)]
        return b";".join(kept)

    def _is_foreign(self, attribute: bytes, public: bytes) -> bool:
        name, _, value = attribute.partition(b"=")
        if name.strip().lower() != b"domain":
            return False
        domain = value.strip().lower().removeprefix(b".")
        return _within(self._host, domain) and not _within(_name(public), domain)


def _name(host: bytes) -> bytes:
    host = host.lower()
    return host if host.endswith(b"]") else host.rpartition(b":")[0] or host


def _within(host: bytes, domain: bytes) -> bool:
    return domain != b"" and (host == domain or host.endswith(b"." + domain))
