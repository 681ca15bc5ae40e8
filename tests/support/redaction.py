"""Ways to write a secret down and to cut a stream, for tests of redaction."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from urllib.parse import quote

from sidecar.guard import ResponseFilter


def units(text: str) -> list[int]:
    """Return UTF-16 code units: what JSON escapes name."""
    wide = text.encode("utf-16-be")
    return [int.from_bytes(wide[at : at + 2], "big") for at in range(0, len(wide), 2)]


SPELLINGS: dict[str, Callable[[str], bytes]] = {
    "raw": lambda s: s.encode(),
    "json": lambda s: json.dumps(s)[1:-1].encode(),
    "json-unicode": lambda s: json.dumps(s, ensure_ascii=False)[1:-1].encode(),
    "json-all-escaped": lambda s: "".join(f"\\u{unit:04x}" for unit in units(s)).encode(),
    "json-all-escaped-upper": lambda s: "".join(f"\\u{unit:04X}" for unit in units(s)).encode(),
    "json-slash": lambda s: json.dumps(s)[1:-1].replace("/", "\\/").encode(),
    "json-twice": lambda s: json.dumps(json.dumps(s)[1:-1])[1:-1].encode(),
    "json-thrice": lambda s: json.dumps(json.dumps(json.dumps(s)[1:-1])[1:-1])[1:-1].encode(),
    "escaped-then-json": lambda s: json.dumps("".join(f"\\u{unit:04x}" for unit in units(s)))[1:-1].encode(),
    "url": lambda s: quote(s, safe="").encode(),
    "url-lower": lambda s: "".join(
        chr(b) if chr(b).isascii() and chr(b).isalnum() else f"%{b:02x}" for b in s.encode()
    ).encode(),
    "url-all": lambda s: "".join(f"%{b:02X}" for b in s.encode()).encode(),
    "url-all-lower": lambda s: "".join(f"%{b:02x}" for b in s.encode()).encode(),
    "url-twice": lambda s: quote(quote(s, safe=""), safe="").encode(),
    "hex": lambda s: s.encode().hex().encode(),
    "hex-upper": lambda s: s.encode().hex().upper().encode(),
    "base64": lambda s: base64.b64encode(s.encode()),
    "base64-url": lambda s: base64.urlsafe_b64encode(s.encode()),
    "base64-second": lambda s: base64.b64encode(b"user:12" + s.encode() + b"tail"),
    "base64-third": lambda s: base64.b64encode(b"user:" + s.encode() + b"tail!"),
    "base64-url-second": lambda s: base64.urlsafe_b64encode(b"u" + s.encode()),
    "base64-url-third": lambda s: base64.urlsafe_b64encode(b"u:" + s.encode()),
    "base64-in-json": lambda s: base64.b64encode(s.encode()).replace(b"/", b"\\/"),
    "base64-in-url": lambda s: quote(base64.b64encode(b"u:" + s.encode()), safe="").encode(),
}


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a text at the given places (any integers)."""
    inside = {place % (len(text) + 1) for place in places}
    return [text[a:b] for a, b in pairwise(sorted({0, len(text), *inside}))]


def every(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def run(stream: ResponseFilter, chunks: Iterable[bytes]) -> bytes:
    """Pass chunks through a filter, end included."""
    return b"".join([*map(stream.feed, chunks), stream.finish()])
