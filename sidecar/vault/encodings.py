"""The spellings in which a key can come back from somewhere: as it is, escaped, quoted, in base64 or hex."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote


def spellings(value: str) -> tuple[bytes, ...]:
    """Return the spellings of a value worth looking for; base64 at each of the three places it can begin at."""
    raw = value.encode()
    found = {raw, json.dumps(value)[1:-1].encode(), quote(value, safe="").encode(), raw.hex().encode()}
    found.add(raw.hex().upper().encode())
    for skipped in range(3):
        # The first and last characters mix with what is beside the value: leave them out.
        inner = base64.b64encode(b"\0" * skipped + raw).rstrip(b"=")
        inner = inner[4:-1] if skipped else inner[:-1]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return tuple(spelling for spelling in found if len(spelling) >= 8)


def echoes(seen: bytes, value: str) -> bool:
    """Return whether a value, in any spelling, is in what was seen."""
    return any(spelling in seen for spelling in spellings(value))
