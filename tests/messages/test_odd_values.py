from __future__ import annotations

import json

import pytest

from sidecar.messages.message_body import BodyProblem
from sidecar.messages.message_guard import build_reader
from sidecar.messages.odd_values import odd
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.vocabulary import Event
from tests.support.exchanges import exchange

MARKUP = "<img src=x onerror=alert(1)>"


def event(args: object) -> list[object]:
    return ["event", {"id": 6, "listener_id": "l", "args": args}]


CASES = {
    "texts": ("nicegui", event([json.dumps(MARKUP), None]), ""),
    "no arguments": ("nicegui", ["event", {"id": 6}], ""),
    "keys as arguments": ("nicegui", event({json.dumps(MARKUP): 1}), "args"),
    "a text as arguments": ("nicegui", event("12"), "args"),
    "an object as an argument": ("nicegui", event([{"value": MARKUP}]), "args"),
    "an attachment as an argument": ("nicegui", event([{"_placeholder": True, "num": 0}]), "args"),
    "no event": ("nicegui", ["event"], "args"),
    "a key in an argument": ("nicegui", event([json.dumps({MARKUP: 1})]), "name"),
    "a key in an answer": ("nicegui", ["javascript_response", {"result": {MARKUP: 1}}], "name"),
    "a key of shiny": ("shiny", {"method": "update", "data": {"a": [{MARKUP: 1}]}}, "name"),
    "a key of bokeh": ("bokeh", {"events": [{MARKUP: 1}]}, "name"),
    "a harmless key": ("shiny", {"method": "update", "data": {"a < b": "c"}}, ""),
    "another protocol": ("plain", {MARKUP: 1}, ""),
}


@pytest.mark.parametrize(("protocol", "value", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
def test_what_cannot_be_looked_at(protocol: str, value: object, expected: str, escaped: bool):
    body = json.dumps(value)
    body = body.replace("<", "\\u003c") if escaped else body
    assert odd(BY_NAME[protocol], value, body.encode()) == expected


def test_packets_of_a_polling_body_are_looked_at_too():
    reader = build_reader(BY_NAME["nicegui"], [])
    body = ("42" + json.dumps(event({json.dumps(MARKUP): 1}))).encode()
    found = reader.read(exchange("POST", "/_nicegui_ws/socket.io/", content_type="text/plain"), body)
    assert isinstance(found, BodyProblem)
    assert (found.reason, found.event) == ("args", Event.MESSAGE_UNREADABLE)
