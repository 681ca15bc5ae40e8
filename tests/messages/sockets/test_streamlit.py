from __future__ import annotations

import pytest

from sidecar.decision import Finding
from sidecar.messages.protobuf import number
from sidecar.messages.sockets.results import KEEP_MESSAGE, KeepMessage, RefuseMessage, RewriteMessage
from sidecar.vocabulary import Code, Event
from tests.support.sockets import inspector

# As Streamlit 1.67 sends them.
CONTEXT = b'\x12\x00\x1a 80fd44188abe430f568180a4be9cffd5B0\n\x03UTC\x10\x00\x1a\x05en-US"\x17http://127.0.0.1:47233/(\x002\x05light'
FIRST = b'Z4\x12\x00B0\n\x03UTC\x10\x00\x1a\x05en-US"\x17http://127.0.0.1:47233/(\x002\x05light'
UPLOADER = b"\n.\n*$$ID-4b1c2853069ae4c2e5021d53d7479a5b-Nonej\x00"
WIDGET = b"\n*$$ID-c7d5c09ac9675e31ba49cd100ffc7f85-None"
TOAST = b"\x12\x04\x12\x02\x02\x00*&\x1a$\x92\x03!\n\x17The message is too long\x12\x04\xf0\x9f\x9a\xab\x18\n"


def field(key: int, value: bytes) -> bytes:
    return number(key << 3 | 2) + number(len(value)) + value


def frame(*widgets: bytes, more: bytes = b"") -> bytes:
    state = UPLOADER + b"".join(field(1, WIDGET + each) for each in widgets)
    return field(11, field(2, state) + CONTEXT[2:]) + more


def chat(text: str) -> bytes:
    return field(15, field(1, text.encode()) + b"\x12\x00")


KINDS = {
    "chat input": chat,
    "trigger": lambda text: field(14, field(1, text.encode())),
    "text input": lambda text: field(6, text.encode()),
    "list": lambda text: field(9, field(1, b"fine") + field(1, text.encode())),
    "json": lambda text: field(10, f'{{"a": [1e5, "{text}"]}}'.encode()),
    "json trigger": lambda text: field(16, f'"{text}"'.encode()),
    "file name": lambda text: field(13, field(2, field(2, text.encode()) + b"\x18\x05")),
}


@pytest.mark.parametrize("name", KINDS)
def test_markup_is_escaped_and_lengths_are_written_anew(name):
    found = inspector("streamlit").binary(frame(b"\x18\x01", KINDS[name]("<b>hi"), more=b"\x9a\x06\x01\xff"))
    assert isinstance(found, RewriteMessage)
    (message,) = found.messages
    assert message.binary
    assert message.data == frame(b"\x18\x01", KINDS[name]("&lt;b>hi"), more=b"\x9a\x06\x01\xff")


def test_json_that_hides_markup_is_read():
    found = inspector("streamlit").binary(frame(field(10, rb'{"a":"\u003cb>"}')))
    assert isinstance(found, RewriteMessage)
    assert found.messages[0].data == frame(field(10, b'{"a":"&lt;b>"}'))


def test_a_long_message_is_refused_with_a_toast():
    found = inspector("streamlit").binary(frame(chat("x" * 21)))
    assert isinstance(found, RefuseMessage)
    assert (found.code, found.forward) == (Code.MESSAGE_TOO_LONG, ())
    assert [(each.binary, each.data) for each in found.replies] == [(True, TOAST)]


TEXTLESS = {
    "first": FIRST,
    "heartbeat": b"\x88\x01\x01",
    "stop": b"\x38\x01",
    "file urls": field(16, field(1, b"id") + field(2, b"<b>.txt")),
    "unknown fields too": FIRST + b"\x9a\x06\x01\xff",
}


@pytest.mark.parametrize("data", TEXTLESS.values(), ids=TEXTLESS)
def test_messages_without_text_pass(data):
    assert inspector("streamlit").binary(data) == KEEP_MESSAGE


UNREAD = {
    "empty": b"",
    "unknown": b"\x9a\x06\x01x",
    "garbage": b"\xff\xff\xff",
    "json": b'{"a":1}',
    "cut": FIRST[:-3],
    "bad text": frame(field(6, b"\xff")),
    "a key twice": frame(field(10, rb'{"a":1,"a":"\u003cb>"}')),
}


@pytest.mark.parametrize("data", UNREAD.values(), ids=UNREAD)
def test_what_is_no_message_of_streamlit_is_refused(data):
    found = inspector("streamlit").binary(data)
    assert isinstance(found, RefuseMessage)
    assert (found.code, found.event) == (Code.MESSAGE_INVALID, Event.MESSAGE_UNREADABLE)


def test_a_text_message_is_refused():
    assert isinstance(inspector("streamlit").text('{"a":1}'), RefuseMessage)


def test_what_is_new_counts():
    socket = inspector("streamlit")
    said = [socket.binary(each) for each in (
        frame(field(6, b"")), frame(field(6, b"draft")), frame(field(6, b"draft")), frame(field(6, b"other")),
        frame(field(6, b"other"), chat("hi")), frame(field(6, b"other"), b"\x10\x01"),
    )]  # fmt: skip
    assert [each.counts for each in said if isinstance(each, KeepMessage)] == [False, True, False, True, True, False]


@pytest.mark.parametrize("key", [11, 12], ids=["arrow", "bytes"])
def test_data_of_components_is_recorded_as_unread(key):
    unread = Finding(Event.MESSAGE_UNREADABLE, {"reason": "binary", "bytes": 3})
    found = inspector("streamlit").binary(frame(field(key, b"<b>")))
    assert isinstance(found, KeepMessage)
    assert (found.findings, found.counts) == ((unread,), False)
    found = inspector("streamlit").binary(frame(field(key, b"<b>"), chat("<b>")))
    assert isinstance(found, RewriteMessage)
    assert found.findings[1:] == (unread,)


def test_a_message_that_was_not_kept_is_refused_with_a_toast():
    found = inspector("streamlit").too_big(b"Z", 5_000_000, binary=True)
    assert isinstance(found, RefuseMessage)
    assert (found.detail, [each.data for each in found.replies]) == ({"bytes": 5_000_000}, [TOAST])
