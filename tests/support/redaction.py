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


ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
NAMED = {"-": "&#45;", "_": "&lowbar;", "+": "&plus;", "/": "&sol;", "=": "&equals;", ":": "&colon;", ".": "&period;"}


def lines(text: bytes, size: int = 16) -> bytes:
    return b"\r\n".join(text[at : at + size] for at in range(0, len(text), size))


def mixed_case(text: bytes) -> bytes:
    return bytes(byte ^ 0x20 if byte > 0x60 and at % 3 else byte for at, byte in enumerate(text))


LAYERS: dict[str, Callable[[bytes], bytes]] = {
    "entities": lambda s: b"".join(b"&#%d;" % byte for byte in s),
    "entities-hex": lambda s: b"".join(b"&#x%X;" % byte for byte in s),
    "entities-bare": lambda s: b"".join(b"&#%04d" % byte for byte in s) + b";",
    "entities-named": lambda s: b"".join(NAMED.get(chr(byte), chr(byte)).encode() for byte in s),
    "entities-mixed": lambda s: b"".join(
        (b"&#%d;" % byte, b"%c" % byte, b"&#x%x;" % byte)[at % 3] for at, byte in enumerate(s)
    ),
    "zero-width": lambda s: "".join(chr(b) + ZERO_WIDTH[at % 6] for at, b in enumerate(s)).encode()[:-2],
    "zero-width-once": lambda s: s[:7] + "\u200b".encode() + s[7:],
    "soft-hyphens": lambda s: "\u00ad".join(map(chr, s)).encode(),
    "lines": lambda s: lines(s, 5),
    "url": lambda s: b"".join(b"%%%02X" % byte for byte in s),
    "url-some": lambda s: b"".join(b"%%%02x" % byte if at % 3 else b"%c" % byte for at, byte in enumerate(s)),
    "url-wide": lambda s: b"".join(b"%%u%04x" % byte for byte in s),
    "json": lambda s: b"".join(b"\\u%04x" % byte for byte in s),
    "json-some": lambda s: b"".join(b"\\u%04X" % byte if at % 4 else b"%c" % byte for at, byte in enumerate(s)),
    "json-braces": lambda s: b"".join(b"\\u{%x}" % byte for byte in s),
    "json-slashes": lambda s: s.replace(b"/", b"\\/").replace(b'"', b'\\"'),
    "escapes": lambda s: b"".join(b"\\x%02x" % byte for byte in s),
    "octal": lambda s: b"".join(b"\\%03o" % byte for byte in s),
    "hex": lambda s: s.hex().encode(),
    "hex-upper": lambda s: s.hex().upper().encode(),
    "hex-mixed": lambda s: mixed_case(s.hex().encode()),
    "hex-lines": lambda s: lines(s.hex().encode()),
    "base64": base64.b64encode,
    "base64-url": base64.urlsafe_b64encode,
    "base64-second": lambda s: base64.b64encode(b"u" + s),
    "base64-third": lambda s: base64.b64encode(b"u:" + s + b"!"),
    "base64-mime": lambda s: lines(base64.b64encode(b"user:" + s)),
    "utf-16": lambda s: s.decode().encode("utf-16-le"),
    "utf-16-big": lambda s: s.decode().encode("utf-16-be"),
}
"""Spellings that may stand inside one another. They take and give bytes; UTF-16 takes UTF-8."""


def cut(text: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a text at the given places (any integers)."""
    inside = {place % (len(text) + 1) for place in places}
    return [text[a:b] for a, b in pairwise(sorted({0, len(text), *inside}))]


def every(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def run(stream: ResponseFilter, chunks: Iterable[bytes]) -> bytes:
    """Pass chunks through a filter, end included."""
    return b"".join([*map(stream.feed, chunks), stream.finish()])
