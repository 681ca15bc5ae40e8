"""Drops the certificate authorities that aiohttp reads when it is imported, for a client that serving does not use."""

from __future__ import annotations

import ssl
from typing import Any, Final

from aiohttp import connector

_CONNECTOR: Final[Any] = connector
"""Where aiohttp keeps the context of a client that was given none; no documented name."""


def drop_default_trust() -> None:
    """Free the authorities of aiohttp's client: some 2 MiB. From now on it trusts no server by default.

    Who uses that client over TLS gives it a context (`admin/jwks.py`). To be called before much else is
    imported, so that what is freed is used again.
    """
    _CONNECTOR._SSL_CONTEXT_VERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # noqa: SLF001  held by a test
