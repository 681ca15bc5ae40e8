"""Read JSON strictly: one meaning for every reader, or a Fault.

orjson is the parser; it refuses trailing text, NaN, control characters, invalid UTF-8, lone
surrogates and a byte order mark. What it lets through is checked here: duplicate keys (a backend
may take the first where we saw the last) and depth.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final

import orjson

from sidecar.exchange import Exchange

MAX_DEPTH: Final = 100
MAX_TOKENS: Final = 200_000
"""Bounds the slow scan (about 0.1 s); a body with more structure than this is no chat message."""

TOKEN = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"([ \t\n\r]*+:)?+|[{}\[\],]', re.DOTALL)


class Fault(StrEnum):
    """Why a body has no single meaning; a reason for the log."""

    NOT_JSON = "not_json"
    NOT_UTF8 = "not_utf8"
    BYTE_ORDER_MARK = "byte_order_mark"
    DUPLICATE_KEY = "duplicate_key"
    TOO_DEEP = "too_deep"
    TOO_COMPLEX = "too_complex"
    TOO_BIG = "too_big"


def parse(body: bytes, max_depth: int = MAX_DEPTH) -> Any | Fault:
    """Return the value, or the Fault. (A Fault is a string of its own class: JSON holds plain ones only.)"""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return fault_of(body)
    # Each nesting level has one of these; only where there are many is the real depth counted.
    if body.count(b"[") + body.count(b"{") > max_depth:
        fault = check_structure(body, max_depth)
        if fault is not None:
            return fault
    elif not surely_unique(body, value):
        return check_structure(body, max_depth) or value
    return value


def parse_once(exchange: Exchange, body: bytes) -> Any | Fault:
    """Return what `parse` does; guards that ask about the same body share one answer, and must not change it."""
    known = exchange.parsed
    if known is not None and known[0] is body:
        return known[1]
    value = parse(body)
    exchange.parsed = (body, value)
    return value


def surely_unique(body: bytes, value: Any) -> bool:
    r"""Return whether no key can be there twice, by counting colons; False means: look closer.

    A duplicate that the parser dropped takes at least its own colon with it, and orjson writes
    colons in strings as they are. So equal counts mean that nothing was dropped, unless the text
    spells a colon as `\u003a`, which hides one.
    """
    if body.find(b"\\") >= 0 and (b"\\u003a" in body or b"\\u003A" in body):
        return False
    return body.count(b":") == orjson.dumps(value).count(b":")


def check_structure(body: bytes, max_depth: int) -> Fault | None:
    """Check the tokens of a body that parsed: depth, duplicate keys, number of tokens."""
    stack: list[set[bytes]] = []
    for count, token in enumerate(TOKEN.finditer(body)):
        if count > MAX_TOKENS:
            return Fault.TOO_COMPLEX
        key = token[1]
        if key is not None:
            if token[2] is not None:
                name = orjson.dumps(orjson.loads(b'"' + key + b'"')) if b"\\" in key else b'"' + key + b'"'
                if name in stack[-1]:
                    return Fault.DUPLICATE_KEY
                stack[-1].add(name)
            continue
        char = token[0]
        if char in {b"{", b"["}:
            stack.append(set())
            if len(stack) > max_depth:
                return Fault.TOO_DEEP
        elif char in {b"}", b"]"}:
            stack.pop()
    return None


def fault_of(body: bytes) -> Fault:
    """Name why a body did not parse."""
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return Fault.BYTE_ORDER_MARK
    try:
        body.decode()
    except UnicodeDecodeError:
        return Fault.NOT_UTF8
    return Fault.NOT_JSON
