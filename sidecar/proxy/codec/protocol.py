"""The base class of the proxy's protocols."""

from __future__ import annotations

from aiohttp.base_protocol import BaseProtocol as SocketProtocol

__all__ = ["SocketProtocol"]
