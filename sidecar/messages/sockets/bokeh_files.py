"""Files that a page of Bokeh or Panel sends inside its events, as base64.

Panel's chat shows a text file as a message, by a media type that the client names. So every file that
is text in UTF-8 is read as a message is; other files are counted, because nothing looks into them.

Base64 for an input that takes no files is a text of letters, and read as one: which inputs take files is
known from the documents that the server sends.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import Any, Final

import orjson

from sidecar.json_path import Location
from sidecar.messages.text_finder import Texts

ATTRIBUTES: Final = frozenset({"filename", "mime_type"})
ENCODED: Final = frozenset({"bytes", "ndarray", "typed_array"})
BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
BINARY: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # ESC is in coloured logs
BYTE_ORDER_MARK: Final = "\ufeff"
INPUT: Final = re.compile(rb'"name":\s*"[\w.]{0,128}FileInput",\s*"id":\s*"([\w-]{1,64})"')
"""A model in a document of the server, as Bokeh's serializer writes it; within a string its quotes are escaped."""
MAX_INPUTS: Final = 1000


class FileInputs:
    """The ids of a page's inputs for files, learned from the server's messages. Bounded; more are taken for texts."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def learn(self, data: bytes) -> None:
        """Note the inputs for files in one message of the server."""
        if b"FileInput" in data:
            for found in INPUT.finditer(data):
                if len(self._ids) < MAX_INPUTS:
                    self._ids.add(found[1].decode())

    def take(self, event: dict[str, Any]) -> bool:
        """Return whether an event sets the value of such an input."""
        model = event.get("model")
        return isinstance(model, dict) and isinstance(model.get("id"), str) and model["id"] in self._ids


def places(value: Any) -> set[tuple[object, ...]]:
    """Return the places of events that set the data of a file: next to its name or type, of the same model."""
    events = value.get("events") if isinstance(value, dict) else None
    if not isinstance(events, list):
        return set()
    changed = [
        (at, each) for at, each in enumerate(events) if isinstance(each, dict) and each.get("kind") == "ModelChanged"
    ]
    models = [orjson.dumps(each.get("model")) for _, each in changed if each.get("attr") in ATTRIBUTES]
    return {
        ("events", at)
        for at, each in changed
        if each.get("attr") == "value" and orjson.dumps(each.get("model")) in models and _is_data(each.get("new"))
    }


def _is_data(value: Any) -> bool:
    """Return whether a value can only be data: base64, or a list of it."""
    if isinstance(value, list):
        return all(_is_data(each) for each in value)
    return isinstance(value, str) and BASE64.fullmatch(value) is not None


def opened(
    value: Any, texts: Texts, files: set[tuple[object, ...]], inputs: FileInputs
) -> tuple[Texts, dict[Location, int], int]:
    """Return the texts with the contents of text files in place of their data, and how many files are no text.

    Bytes and arrays that are written as base64 count as such files. In between: the lengths of data that no
    input for files takes, because what reads it reads these letters.
    """
    found: Texts = []
    letters: dict[Location, int] = {}
    unread = 0
    for where, text in texts:
        if where[-1:] == ("data",) and _is_encoded(value, where) and _is_data(text):
            unread += 1
            continue
        if where[:2] not in files:
            found.append((where, text))
            continue
        content = text_of(text)
        if text and not inputs.take(value["events"][where[1]]):
            letters[where] = len(text)
            found.append((where, text if content is None else content))
        elif content is None:
            unread += 1
        elif content:
            found.append((where, content))
    return found, letters, unread


def _is_encoded(value: Any, where: tuple[object, ...]) -> bool:
    """Return whether a place is that of the data of `{"type": "bytes", "data": …}`, or of an array."""
    for step in where[:-1]:
        value = value[step]
    return isinstance(value, dict) and value.get("type") in ENCODED


def text_of(data: str) -> str | None:
    """Return the text of a file; None if it is none, in UTF-8."""
    try:
        text = b64decode(data + "=" * (-len(data) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return None if BINARY.search(text) else text.removeprefix(BYTE_ORDER_MARK)


def data_of(text: str) -> str:
    """Return a file's data for its text."""
    return b64encode(text.encode("utf-8", "surrogatepass")).decode()
