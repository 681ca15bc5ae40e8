"""Per-request handles: self-contained, signed, short-lived. No database, a few microseconds each.

    phk_1.<base64url of: key id (8) | expires (u32, epoch seconds) | nonce (8) |
           organization, provider, session (each a length byte and UTF-8) | HMAC-SHA-256 (32)>

The MAC covers everything before it. Who holds one can read where it belongs, and do nothing else
with it: it opens no entry, and only this product's egress listener takes it, for this provider.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import struct
from collections.abc import Mapping
from typing import Final

from sidecar.vault.errors import HandleRefused, Invalid
from sidecar.vault.models import Grant

PREFIX: Final = "phk_1."
NONCE_SIZE: Final = 8
MAC_SIZE: Final = 32
MAX_TEXT: Final = 1024
_HEAD: Final = struct.Struct(f">8sI{NONCE_SIZE}s")


class Signer:
    """Mints with the first key, accepts all of them. `keys` by master id, the current one first."""

    def __init__(self, keys: Mapping[bytes, bytes]) -> None:
        self._keys = dict(keys)
        self._id, self._key = next(iter(self._keys.items()))

    def mint(self, organization: str, provider: str, session: str, expires_at: int) -> str:
        """Return a handle for one organization, provider and session, or raise Invalid."""
        parts = [_HEAD.pack(self._id, expires_at, os.urandom(NONCE_SIZE))]
        for text in (organization, provider, session):
            encoded = text.encode()
            if len(encoded) > 255:
                raise Invalid("a handle names organization, provider and session in at most 255 bytes each")
            parts.append(bytes((len(encoded),)) + encoded)
        body = b"".join(parts)
        mac = hmac.digest(self._key, body, hashlib.sha256)
        return PREFIX + base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()

    def read(self, text: str) -> Grant:
        """Return what a handle grants, expired or not, or raise HandleRefused."""
        if len(text) > MAX_TEXT or not text.startswith(PREFIX):
            raise HandleRefused("unknown")
        packed = text[len(PREFIX) :]
        try:
            data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise HandleRefused("unknown") from None
        body, mac = data[:-MAC_SIZE], data[-MAC_SIZE:]
        key = self._keys.get(body[:8])
        if key is None or not hmac.compare_digest(hmac.digest(key, body, hashlib.sha256), mac):
            raise HandleRefused("unknown")
        # From here on the bytes are our own.
        _, expires_at, _ = _HEAD.unpack_from(body)
        organization, provider, session = _strings(body[_HEAD.size :])
        return Grant(organization, provider, session, expires_at)


def _strings(data: bytes) -> tuple[str, str, str]:
    found: list[str] = []
    while data:
        size = data[0]
        found.append(data[1 : 1 + size].decode())
        data = data[1 + size :]
    organization, provider, session = found
    return organization, provider, session
