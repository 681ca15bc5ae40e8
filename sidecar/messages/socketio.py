"""The packets of socket.io: what is around the JSON, and which of them carry text.

https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
"""

from __future__ import annotations

import re
from typing import Final

KEEPALIVES: Final = frozenset({"", "ping", "pong", "2", "3", "2probe", "3probe", "1", "5", "6"})
RECORD_SEPARATOR: Final = "\x1e"  # between the packets of one long-polling body: engine.io protocol 4
MAX_PACKETS: Final = 256

# engine.io message (4), socket.io type, attachments, namespace, acknowledgement id; then JSON.
PACKET = re.compile(r"4([0-6])(?:(\d{1,3})-)?(/[^,\x00-\x20]{0,200},)?(\d{1,18})?")
# Events and acknowledgements, binary ones included. Connect (0) carries credentials, which are the
# backend's own business; disconnect (1) and connect error (4) are no messages.
CARRIES_TEXT: Final = frozenset("2356")


def start_of_json(packet: str) -> int | None:
    """Return where the JSON of a packet with text starts, 0 for one without text, None for no packet at all."""
    if packet in KEEPALIVES:
        return 0
    found = PACKET.match(packet)
    if found is None:
        return None
    return found.end() if found[1] in CARRIES_TEXT else 0
