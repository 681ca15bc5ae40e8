"""Whether an Origin is the request's own Host: pages that the backend serves talk to themselves."""

from __future__ import annotations

from typing import Final

CACHED: Final = 1024


class SameOrigin:
    """Compare an Origin with Host and the public scheme, remembering what was compared."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bool], bool] = {}

    def holds(self, origin: bytes, host: bytes | None, *, secure: bool) -> bool:
        if not host or len(origin) + len(host) > 600:
            return False
        key = (origin, host, secure)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= CACHED:
                self._known.clear()
            known = self._known[key] = is_same_origin(origin, host, secure=secure)
        return known


def is_same_origin(origin: bytes, host: bytes, *, secure: bool) -> bool:
    """Say whether an Origin's host and port are those of Host, and its scheme is not weaker than ours.

    An https Origin at a plain listener is fine: the proxy in front that ended TLS need not be one that
    we trust to say so. A Host without a port means the port of the Origin's own scheme.
    """
    scheme, separator, authority = origin.partition(b"://")
    if not separator or scheme not in (b"http", b"https") or (secure and scheme == b"http"):
        return False
    default = b":443" if scheme == b"https" else b":80"
    # Browsers leave their default port out of Origin; Host may spell it, and in capitals.
    return authority != b"" and authority == host.lower().removesuffix(default)
