"""Peers that send forwarding headers without being trusted: probably proxies that the policy does not name.

Such a peer is one client for every limit. It is exempt from bans only where a header alone could not
buy that: its own address is private, and the addresses that it forwards differ.
"""

from __future__ import annotations

from typing import Final

PEERS: Final = 1024
"""Peers that are remembered, private and public ones apart: public ones cannot crowd out the proxy in front."""


class UndeclaredProxies:
    """Count requests of such peers, and remember which of them forward for several clients. Bounded."""

    def __init__(self, most: int = PEERS) -> None:
        self.requests = 0
        self._most = most
        self._private: dict[str, str | None] = {}  # peer → an address that it forwarded; None: they differ
        self._public: set[str] = set()

    def note(self, peer: str, address: str, *, private: bool) -> bool:
        """Note one request; return whether it is the first of this peer, which is worth a warning.

        address  what the peer says who asked; empty where it is not readable
        private  the peer's own address is a private one
        """
        self.requests += 1
        known = self._private if private else self._public
        if peer not in known:
            if len(known) >= self._most:
                return False
            if private:
                self._private[peer] = address
            else:
                self._public.add(peer)
            return True
        if private and address:
            first = self._private[peer]
            if first is not None and first != address:
                self._private[peer] = None if first else address
        return False

    def is_probable(self, peer: str) -> bool:
        """Return whether a peer is probably a proxy: a private address that forwarded differing ones."""
        return self._private.get(peer, "") is None

    def peers(self) -> list[str]:
        """Return the peers that were seen, private ones first."""
        return [*self._private, *sorted(self._public)]
