"""The inspector of one socket, as a route of the policy makes it."""

from __future__ import annotations

from sidecar.errors import Problems
from sidecar.messages.content_filter import compile_patterns
from sidecar.messages.message_guard import build_message_guard
from sidecar.messages.sockets.inspector import SocketInspector
from sidecar.messages.websocket_messages import frame_guard

NOW = 1795766248.5  # 2026-11-27T07:57:28.5Z


def inspector(
    protocol: str, *, max_chars: int = 20, markup: str = "escape", on_uninspectable: str = "refuse", blocked: str = ""
) -> SocketInspector:
    """Return an inspector; `blocked` is a pattern that refuses a text."""
    problems = Problems()
    guard = build_message_guard(
        protocol=protocol,
        fields=[],
        max_chars=max_chars,
        markup=markup,
        on_uninspectable=on_uninspectable,
        problems=problems,
    )
    assert guard is not None, problems.found
    patterns = compile_patterns({"blocked": blocked}, problems) if blocked else None
    return frame_guard(guard, patterns).begin("/ws", "req", lambda: NOW)
