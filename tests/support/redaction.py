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
NAMED = {
    "&": "&amp;",
    '"': "&quot;",
    "-": "&#45;",
    "_": "&lowbar;",
    "+": "&plus;",
    "/": "&sol;",
    "=": "&equals;",
    ":": "&colon;",
    ".": "&period;",
}


def lines(text: bytes, size: int = 16) -> bytes:
    return b"\r\n".join(text[at : at + size] for at in range(0, len(text), size))


def mixed_case(text: bytes) -> bytes:
    return bytes(byte ^ 0x20 if byte > 0x60 and at % 3 else byte for at, byte in enumerate(text))


def text_layer(write: Callable[[str], str]) -> Callable[[bytes], bytes]:
    return lambda s: write(s.decode()).encode()


def each(write: Callable[[int, int], str]) -> Callable[[bytes], bytes]:
    """Write each character by its place and its code point."""
    return text_layer(lambda s: "".join(write(at, ord(c)) for at, c in enumerate(s)))


LAYERS: dict[str, Callable[[bytes], bytes]] = {
    "entities": each(lambda _, c: f"&#{c};"),
    "entities-hex": each(lambda _, c: f"&#x{c:X};"),
    "entities-bare": lambda s: each(lambda _, c: f"&#{c:04}")(s) + b";",
    "entities-named": each(lambda _, c: NAMED.get(chr(c), chr(c))),
    "entities-mixed": each(
        lambda at, c: chr(c) if at % 3 == 1 and c != 0x26 else f"&#{c};" if at % 2 else f"&#x{c:x};"
    ),
    "zero-width": lambda s: each(lambda at, c: chr(c) + ZERO_WIDTH[at % 6])(s)[:-2],
    "zero-width-once": text_layer(lambda s: s[:7] + "\u200b" + s[7:]),
    "soft-hyphens": text_layer("\u00ad".join),
    "lines": text_layer(lambda s: "\r\n".join(s[at : at + 5] for at in range(0, len(s), 5))),
    "url": lambda s: b"".join(b"%%%02X" % byte for byte in s),
    "url-some": lambda s: b"".join(
        b"%%%02x" % byte if at % 3 or byte == 0x25 or byte > 0x7E else b"%c" % byte for at, byte in enumerate(s)
    ),
    "url-wide": text_layer(lambda s: "".join(f"%u{unit:04x}" for unit in units(s))),
    "json": text_layer(lambda s: "".join(f"\\u{unit:04x}" for unit in units(s))),
    "json-some": each(lambda at, c: f"\\u{c:04X}" if at % 4 or chr(c) in '"\\' else chr(c)),
    "json-braces": each(lambda _, c: f"\\u{{{c:x}}}"),
    "json-slashes": text_layer(lambda s: json.dumps(s)[1:-1].replace("/", "\\/")),
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
