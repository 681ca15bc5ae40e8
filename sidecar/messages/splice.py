"""Put changed strings into the bytes of a JSON body; every other byte stays as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from sidecar.json_path import EMBEDDED, Location
from sidecar.messages.strict_json import TOKEN


class Null:
    """`null`, where a string is replaced by it."""


NULL: Final = Null()


def splice(body: bytes, changes: Mapping[Location, str | Null]) -> bytes:
    """Return the body with the strings at these places replaced.

    The body has parsed (`scan.parse`) and each place holds a string. Numbers as written, key order,
    white space and unknown fields are copied, not written anew.
    """
    wanted = tree(changes)
    if isinstance(wanted, str):  # the whole body is one string
        return body.replace(body.strip(b" \t\n\r"), orjson.dumps(wanted), 1)
    out: list[bytes] = []
    copied = 0
    for start, end, change in spans(body, wanted):
        text = change
        if isinstance(change, dict):  # JSON in the string: it is changed in the same way
            inner = orjson.loads(body[start:end]).encode()
            text = splice(inner, inside(change[EMBEDDED])).decode()
        out += (body[copied:start], b"null" if text is NULL else orjson.dumps(text))
        copied = end
    out.append(body[copied:])
    return b"".join(out)


def tree(changes: Mapping[Location, str | Null]) -> Any:
    """Turn places into nested dicts, which `spans` follows step by step."""
    root: dict[Any, Any] = {}
    for place, text in changes.items():
        if not place:
            return text
        node = root
        for step in place[:-1]:
            node = node.setdefault(step, {})
        node[place[-1]] = text
    return root


def inside(node: Any, place: Location = ()) -> dict[Location, str]:
    """Return the changes that a tree was made of."""
    if isinstance(node, str):
        return {place: node}
    changes: dict[Location, str] = {}
    for step, child in node.items():
        changes |= inside(child, (*place, step))
    return changes


def spans(body: bytes, wanted: dict[Any, Any]) -> list[tuple[int, int, Any]]:
    """Return (start, end, new text, or the changes in its JSON) of each string literal to be replaced, in order.

    For each open container the stack holds what is wanted in it (None: nothing) and, of an array,
    the index that comes next; `here` is what is wanted at the value that comes next.
    """
    found: list[tuple[int, int, Any]] = []
    stack: list[tuple[dict[Any, Any] | None, int]] = []
    node: dict[Any, Any] | None = None
    index = -1
    here: Any = wanted
    for token in TOKEN.finditer(body):
        if token[1] is not None:
            if token[2] is not None:
                here = node.get(orjson.loads(b'"' + token[1] + b'"')) if node is not None else None
            elif isinstance(here, str | Null) or (isinstance(here, dict) and EMBEDDED in here):
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
