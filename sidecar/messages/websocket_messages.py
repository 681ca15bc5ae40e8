"""The guard of a route's WebSockets: makes an inspector for each socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from sidecar.messages.content_filter import Patterns
from sidecar.messages.message_guard import MessageGuard
from sidecar.messages.protocols.catalogue import AUTO
from sidecar.messages.protocols.definition import Framing
from sidecar.messages.sockets.bokeh import BokehInspector
from sidecar.messages.sockets.inspector import SocketFacts, SocketInspector
from sidecar.messages.sockets.rules import SocketRules
from sidecar.messages.sockets.shiny import ShinyInspector
from sidecar.messages.sockets.socketio import INSPECTORS, SocketIoInspector
from sidecar.messages.sockets.streamlit import StreamlitInspector

FRAMINGS: Final[dict[Framing, Callable[[SocketRules, SocketFacts], SocketInspector]]] = {
    Framing.JSON: SocketInspector,
    Framing.SOCKET_IO: SocketIoInspector,
    Framing.BOKEH: BokehInspector,
    Framing.SHINY: ShinyInspector,
    Framing.STREAMLIT: StreamlitInspector,
}


@dataclass(frozen=True, slots=True)
class WebSocketMessageGuard:
    """Inspects the messages that clients send on one route's WebSockets."""

    rules: SocketRules

    def begin(self, path: str, request_id: str, now: Callable[[], float]) -> SocketInspector:
        """Return the inspector of one socket.

        path        of the handshake, without its query
        request_id  of the handshake
        now         returns seconds since the epoch
        """
        protocol = self.rules.protocol
        if protocol is AUTO:
            made: Callable[[SocketRules, SocketFacts], SocketInspector] = SocketIoInspector
        else:
            made = INSPECTORS.get(protocol.name, FRAMINGS[protocol.framing])
        return made(self.rules, SocketFacts(path, request_id, now))


def frame_guard(guard: MessageGuard, patterns: Patterns | None = None) -> WebSocketMessageGuard:
    """Build the guard of a route's WebSockets from the one of its bodies, and the content filter's patterns."""
    places = replace(guard.reader.finder, only=None)
    rules = SocketRules(
        guard.reader.protocol,
        places,
        guard.max_chars,
        guard.markup,
        guard.pass_uninspectable,
        patterns,
        guard.roles,
    )
    return WebSocketMessageGuard(rules)
