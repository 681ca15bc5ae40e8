"""Values that the server of a chat page reads as text, and that no path of its protocol names."""

from __future__ import annotations

import re
from typing import Any, Final

from sidecar.messages.protocols.definition import Protocol
from sidecar.messages.protocols.pages import BOKEH, NICEGUI, SHINY
from sidecar.messages.strict_json import parse

OPENS_MARKUP: Final = re.compile(r"<[A-Za-z/!?]")
NAMED: Final = frozenset({BOKEH.name, NICEGUI.name, SHINY.name})
"""Protocols whose apps get whole objects, and may show the names in them."""


def odd(protocol: Protocol, value: Any, body: bytes) -> str:
    """Return why a message cannot be looked at; empty: it can. `body` is the JSON of `value`.

    args  arguments of NiceGUI's events that are no list of JSON texts, as its pages send them: its server also takes
          the keys of an object, and the bytes of an attachment
    name  a key of an object that could open markup: keys cannot be changed
    """
    if protocol.name not in NAMED:
        return ""
    inner: list[Any] = []
    if protocol is NICEGUI and isinstance(value, list) and value[:1] == ["event"]:
        event = value[1] if len(value) > 1 else None
        args = event.get("args", []) if isinstance(event, dict) else None
        if not isinstance(args, list) or not all(each is None or isinstance(each, str) for each in args):
            return "args"
        inner = [parse(each.encode("utf-8", "surrogatepass")) for each in args if each and "{" in each]
    opens = b"<" in body or b"\\u" in body
    return "name" if opens and (has_markup_name(value) or has_markup_name(inner)) else ""


def has_markup_name(value: Any) -> bool:
    """Return whether a key of an object, at any depth, could open markup."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if any(OPENS_MARKUP.search(name) for name in each):
                return True
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return False
