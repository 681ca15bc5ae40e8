"""The strings of a body or a message, each with its place. Bounded; what cannot be read yields nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from sidecar.json_path import NAME
from sidecar.messages.protobuf import LENGTH, Malformed, fields
from sidecar.messages.socketio import PACKET, RECORD_SEPARATOR
from sidecar.stores.observations import Place

MAX_STRINGS: Final = 400
"""Strings of one body that are looked at."""
MAX_DEPTH: Final = 12
MAX_ITEMS: Final = 64
"""Items of one array, and fields of one protobuf message, that are looked at."""
LONGEST_NAME: Final = 64

_DISPOSITION = re.compile(rb'(?is)content-disposition:[^\r\n]*?\bname="([^"\r\n]{1,64})"([^\r\n]*)\r\n')

Found = tuple[Place, str]


def of_json(body: bytes, form: str = "json", event: str = "") -> Iterator[Found] | None:
    """Return the strings of a JSON text; None when it is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return _bounded(_walk(value, "$", form, event, 0))


def _bounded(found: Iterator[Found]) -> Iterator[Found]:
    for _, each in zip(range(MAX_STRINGS), found, strict=False):
        yield each


def _walk(value: Any, path: str, form: str, event: str, depth: int) -> Iterator[Found]:
    if isinstance(value, str):
        yield Place(form, path, event), value
        if depth < MAX_DEPTH and value[:1] in ("{", "["):
            inner = of_json(value.encode("utf-8", "surrogatepass"), form, event)
            for place, text in inner or ():
                # A string that holds JSON: its places follow the bar.
                yield place._replace(path=f"{path} | {place.path}"), text
    elif depth >= MAX_DEPTH:
        return
    elif isinstance(value, dict):
        for name, item in value.items():
            if len(name) <= LONGEST_NAME and name.isprintable():
                yield from _walk(item, path + _step(name), form, event, depth + 1)
    elif isinstance(value, list):
        # Arguments are in order, and each is another thing; items of a list are alike.
        kinds = {dict if isinstance(item, dict) else list if isinstance(item, list) else None for item in value}
        ordered = kinds == {None} or len(kinds) > 1 or (path == "$" and form == "packet")
        for number, item in enumerate(value[:MAX_ITEMS]):
            yield from _walk(item, f"{path}[{number}]" if ordered else f"{path}[*]", form, event, depth + 1)


def _step(name: str) -> str:
    if NAME.fullmatch(name):
        return f".{name}"
    return "['{}']".format(name.replace("\\", "\\\\").replace("'", "\\'"))


def of_packet(text: str) -> Iterator[Found] | None:
    """Return the strings of a socket's text message: a socket.io packet, JSON, or JSON after a few characters."""
    packet = PACKET.match(text)
    if packet is not None and text[packet.end() : packet.end() + 1] in ("[", "{"):
        body = text[packet.end() :].encode("utf-8", "surrogatepass")
        return of_json(body, "packet", _event_of(body))
    return of_json(text.encode("utf-8", "surrogatepass"), "json")


def _event_of(body: bytes) -> str:
    """Return the name of a socket.io event: the first item of the packet's array."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    first = value[0] if isinstance(value, list) and value else ""
    return first if isinstance(first, str) and len(first) <= LONGEST_NAME else ""


def of_polling(body: bytes) -> Iterator[Found] | None:
    """Return the strings of socket.io's long-polling body: packets with a separator between them."""
    packets = body.decode("utf-8", "replace").split(RECORD_SEPARATOR)[:MAX_ITEMS]
    found = [places for packet in packets if (places := of_packet(packet)) is not None]
    return (each for places in found for each in places) if found else None


def of_query(target: bytes, form: str = "query") -> Iterator[Found]:
    """Return the values of a target's query."""
    query = target.partition(b"?")[2].decode("latin-1")
    return _pairs(query, form)


def of_urlencoded(body: bytes) -> Iterator[Found]:
    """Return the fields of an urlencoded form."""
    return _pairs(body.decode("latin-1"), "field")


def _pairs(text: str, form: str) -> Iterator[Found]:
    try:
        pairs = parse_qsl(text[:65536], max_num_fields=MAX_STRINGS)
    except ValueError:
        return
    for name, value in pairs:
        if len(name) <= LONGEST_NAME and name.isprintable():
            yield Place(form, "$" + _step(name)), value


def of_multipart(body: bytes) -> Iterator[Found]:
    """Return the fields of a multipart form that are no files."""
    for number, found in enumerate(_DISPOSITION.finditer(body)):
        if number >= MAX_ITEMS:
            return
        start = body.find(b"\r\n\r\n", found.end() - 2)
        end = body.find(b"\r\n--", start)
        name = found[1].decode("utf-8", "replace")
        if b"filename" not in found[2] and 0 <= start < end and name.isprintable():
            yield Place("field", "$" + _step(name)), body[start + 4 : end].decode("utf-8", "replace")


def of_binary(data: bytes) -> Iterator[Found] | None:
    """Return the strings of a binary message: JSON, else protocol buffers, read without their schema."""
    if data[:1] in (b"{", b"["):
        return of_json(data)
    found = _protobuf(data, "", 0)
    return None if found is None else _bounded(iter(found))


def _protobuf(data: bytes, path: str, depth: int) -> list[Found] | None:
    """Read bytes as one message of unknown schema; None when they are none."""
    found: list[Found] = []
    try:
        for field in fields(data, 0, len(data)):
            if field.wire == LENGTH:
                at = f"{path}.{field.number}" if path else str(field.number)
                found += _delimited(data[field.start : field.end], at, depth)
            if len(found) > MAX_STRINGS:
                break
    except Malformed:
        return None
    return found


def _delimited(data: bytes, path: str, depth: int) -> list[Found]:
    """Read a field that is a string, a message, or neither: a text of letters is hardly ever a message too."""
    inner = _protobuf(data, path, depth + 1) if data and depth < MAX_DEPTH else None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return inner or []
    if text.isprintable() or (not inner and "\n" in text):
        return [(Place("protobuf", path), text)]
    return inner or []
