"""Put changed strings into the bytes of a JSON body; every other byte stays as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sidecar.json_path import Location
from sidecar.messages.strict_json import TOKEN


def splice(body: bytes, changes: Mapping[Location, str]) -> bytes:
    """Return the body with the strings at these places replaced.

    The body has parsed (`scan.parse`) and each place holds a string. Numbers as written, key order,
    white space and unknown fields are copied, not written anew.
    """
    wanted = tree(changes)
    if isinstance(wanted, str):  # the whole body is one string
        return body.replace(body.strip(b" \t\n\r"), orjson.dumps(wanted), 1)
    out: list[bytes] = []
    copied = 0
    for start, end, text in spans(body, wanted):
        out += (body[copied:start], orjson.dumps(text))
        copied = end
    out.append(body[copied:])
    return b"".join(out)


def tree(changes: Mapping[Location, str]) -> Any:
    """Turn places into nested dicts, so that the walk below follows them step by step."""
    root: dict[str | int, Any] = {}
    for place, text in changes.items():
        if not place:
            return text
        node = root
        for step in place[:-1]:
            node = node.setdefault(step, {})
        node[place[-1]] = text
    return root


def spans(body: bytes, wanted: dict[str | int, Any]) -> list[tuple[int, int, str]]:
    """Return (start, end, new text) of each string literal to be replaced, in order.

    For each open container the stack holds what is wanted in it (None: nothing) and, of an array,
    the index that comes next; `here` is what is wanted at the value that comes next.
    """
    found: list[tuple[int, int, str]] = []
    stack: list[tuple[dict[str | int, Any] | None, int]] = []
    node: dict[str | int, Any] | None = None
    index = -1
    here: Any = wanted
    for token in TOKEN.finditer(body):
        if token[1] is not None:
            if token[2] is not None:
                here = node.get(orjson.loads(b'"' + token[1] + b'"')) if node is not None else None
            elif isinstance(here, str):
                found.append((token.start(), token.end(), here))
            continue
        char = token[0]
        if char in {b"{", b"["}:
            stack.append((node, index))
            node = here if isinstance(here, dict) else None
            index = 0 if char == b"[" else -1
            here = node.get(0) if node is not None and index == 0 else None
        elif char == b",":
            if index >= 0:
                index += 1
                here = node.get(index) if node is not None else None
        else:
            node, index = stack.pop()
    return found
