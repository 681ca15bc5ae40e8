"""Which hosts are served; a request for any other gets 421."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sidecar.bounded_cache import BoundedCache
from sidecar.decision import PASS, Decision, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.vocabulary import Code

CACHED: Final = 256 * 1024
"""Bytes of Host values and verdicts that are remembered."""
LONGEST_HOST: Final = 300
"""A name of 253 characters, a port, and room to spare."""

HOST = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")

MISDIRECTED: Final = Refuse(Code.MISDIRECTED_REQUEST, {"reason": "host"})


def build_host(hosts: Sequence[str], problems: Problems) -> HostGuard | None:
    """Build the guard, or None when every host is served; `problems` is at `requests.hosts`."""
    kept = []
    for number, text in enumerate(hosts):
        if HOST.fullmatch(text.lower()) is None or ".." in text:
            problems.at(f"[{number}]").add(
                f"{text!r} is not a host", "write chat.example.com, *.example.com or chat.example.com:8443"
            )
        else:
            kept.append(text.lower())
    return HostGuard(kept) if hosts else None


class HostGuard:
    """Compare the public host with the list. An entry without a port takes every port; `*.` takes one label or more.

    Without this list a page of any name that an attacker points here (DNS rebinding) is its own
    origin, and a request to our address under a foreign name is served.
    """

    name = "host"

    def __init__(self, hosts: Sequence[str]) -> None:
        self._exact = frozenset(host.encode() for host in hosts if not host.startswith("*."))
        self._below = tuple(host[1:].encode() for host in hosts if host.startswith("*."))
        self._known: BoundedCache[bytes, bool] = BoundedCache(CACHED)

    def check(self, exchange: Exchange) -> Decision:
        """Refuse with 421 (RFC 9110 §15.5.20) a host that the list does not name."""
        host = exchange.host
        known = self._known.get(host)
        if known is None:
            if len(host) > LONGEST_HOST:
                return MISDIRECTED
            known = self._known.remember(host, self._serves(host.lower()), len(host))
        return PASS if known else MISDIRECTED

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`)."""
        return self.check(exchange) is PASS

    def _serves(self, host: bytes) -> bool:
        bare = without_port(host)
        if host in self._exact or bare in self._exact:
            return True
        return any(
            len(name) > len(end) and name.endswith(end) and not name.startswith(b".")
            for end in self._below
            for name in (host, bare)
        )


def without_port(host: bytes) -> bytes:
    """Return the name or address of a Host, brackets kept."""
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1]
    return host.partition(b":")[0]
