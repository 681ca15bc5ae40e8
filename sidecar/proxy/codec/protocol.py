"""What sockets derive from."""

from __future__ import annotations

from aiohttp.base_protocol import BaseProtocol as SocketProtocol

__all__ = ["SocketProtocol"]
