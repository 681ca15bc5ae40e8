"""Counts of requests and streams that are open now, for the metrics."""

from __future__ import annotations

from collections.abc import Mapping


class ActivityCounts:
    """An Activity: requests and streams that are open now."""

    def __init__(self) -> None:
        self.requests = 0
        self._streams: dict[str, int] = {"sse": 0, "websocket": 0, "chunked": 0, "egress": 0}

    def stream_began(self, kind: str) -> None:
        """Count one stream more of this kind."""
        self._streams[kind] += 1

    def stream_ended(self, kind: str) -> None:
        """Count one stream less of this kind."""
        self._streams[kind] -= 1

    def streams(self) -> Mapping[str, int]:
        """Return the open streams by kind."""
        return self._streams
