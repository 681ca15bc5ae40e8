from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest

from sidecar.decision import Finding
from sidecar.messages.sockets.results import HOLD_MESSAGE, KEEP_MESSAGE, KeepMessage, RefuseMessage, RewriteMessage
from sidecar.vocabulary import Code, Event
from tests.support.sockets import inspector

HEADER = '{"msgid":"A1","msgtype":"PATCH-DOC"}'


def sent(text: str, entry: str = "value") -> str:
    values = {"type": "map", "entries": [["model", {"id": "p1021"}], [entry, text]]}
    data = {"type": "event", "name": "chat_message_event", "values": values}
    return json.dumps({"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": data}]})


def set_to(value: object, attr: str = "value") -> dict[str, object]:
    return {"kind": "ModelChanged", "model": {"id": "p1021"}, "attr": attr, "new": value}


def patched(*events: dict[str, object]) -> str:
    return json.dumps({"events": list(events)})


def say(socket, content, header=HEADER):
    assert socket.text(header) == HOLD_MESSAGE
    assert socket.text("{}") == HOLD_MESSAGE
    return socket.text(content)


def parts(messages):
    return [each.data.decode() for each in messages]


def test_the_parts_go_on_together_once_the_content_was_read():
    found = say(inspector("bokeh"), sent("hi"))
    assert isinstance(found, RewriteMessage)
    assert parts(found.messages) == [HEADER, "{}", sent("hi")]
    assert found.counts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (sent("<b>"), sent("&lt;b>")),
        (patched(set_to("<b>")), patched(set_to("&lt;b>"))),
        (patched(set_to("<b>", "value_input")), patched(set_to("&lt;b>", "value_input"))),
        (patched(set_to({"type": "map", "entries": [["a", "<b>"]]}, "x")), patched(set_to({"type": "map", "entries": [["a", "&lt;b>"]]}, "x"))),
    ],
    ids=["sent", "value", "draft", "map"],
)  # fmt: skip
def test_markup_is_escaped(content, expected):
    found = say(inspector("bokeh"), content)
    assert isinstance(found, RewriteMessage)
    assert json.loads(parts(found.messages)[2]) == json.loads(expected)


def test_a_refused_message_leaves_its_place_and_a_note():
    socket = inspector("bokeh")
    found = say(socket, sent("x" * 21))
    assert isinstance(found, RefuseMessage)
    assert found.code is Code.MESSAGE_TOO_LONG
    assert parts(found.forward) == [HEADER, "{}", '{"events":[]}']
    header, metadata, content = map(json.loads, parts(found.replies))
    assert (header["msgtype"], metadata) == ("PATCH-DOC", {})
    note = content["events"][0]["model"]["attributes"]
    assert (note["text"], note["render_as_text"]) == ("The message is too long", True)
    again = say(socket, sent("y" * 21))
    assert isinstance(again, RefuseMessage)
    assert json.loads(parts(again.replies)[0])["msgid"] != header["msgid"]
    assert isinstance(say(socket, sent("fine")), RewriteMessage)


def test_what_is_typed_is_bounded_when_it_is_sent():
    found = say(inspector("bokeh"), patched(set_to("x" * 21, "value_input")))
    assert isinstance(found, RewriteMessage)
    assert not found.counts


def with_file_input(**rules):
    """Return the inspector of a page whose document, sent by the server, has an input for files: p1021."""
    socket = inspector("bokeh", **rules)
    document = '{"doc":{"roots":[{"type":"object","name":"FileInput","id":"p1021","attributes":{}}]}}'
    for each in ('{"msgid":"B1","msgtype":"PULL-DOC-REPLY"}', "{}", document):
        socket.passed(each.encode(), binary=False)
    return socket


PICTURE = (set_to("image/png", "mime_type"), set_to("a.png", "filename"), set_to("/9j/" * 20))


def test_the_data_of_a_file_is_no_text():
    found = say(with_file_input(), patched(*PICTURE))
    assert isinstance(found, RewriteMessage)
    assert (found.texts, found.findings) == (2, (Finding(Event.MESSAGE_UNREADABLE, {"reason": "file", "files": 1}),))
    assert isinstance(say(with_file_input(), patched(*PICTURE[:2], set_to("no data " * 20))), RefuseMessage)
    assert isinstance(say(with_file_input(), patched(set_to("QUJD" * 20))), RefuseMessage)


@pytest.mark.parametrize("letters", ["/9j/" * 20, "onlyletters" * 2, b64encode(b"a text of 18 chars").decode()])
def test_a_text_of_letters_is_no_file_for_a_box(letters):
    for made in (patched(*PICTURE[:2], set_to(letters)), patched(set_to([letters]), *PICTURE[:2])):
        found = say(inspector("bokeh"), made)
        assert isinstance(found, RefuseMessage)
        assert (found.code, found.detail) == (Code.MESSAGE_TOO_LONG, {"characters": len(letters), "limit": 20})


def test_a_text_file_is_read_as_a_message_is():
    file = b64encode(b"<script> in a file").decode()
    name, kind = set_to("a.bin", "filename"), set_to("application/octet-stream", "mime_type")
    found = say(with_file_input(), patched(set_to(file), name, kind))
    assert isinstance(found, RewriteMessage)
    assert (found.texts, found.counts) == (3, True)
    assert [each.event for each in found.findings] == [Event.MESSAGE_SANITIZED]
    written = json.loads(parts(found.messages)[2])["events"][0]["new"]
    assert b64decode(written) == b"&lt;script> in a file"
    assert isinstance(say(with_file_input(blocked="(?i)in a FILE"), patched(set_to(file), name)), RefuseMessage)
    long = set_to(b64encode(b"more characters than a message may have").decode())
    found = say(with_file_input(), patched(long, name, kind))
    assert isinstance(found, RefuseMessage)
    assert (found.code, found.detail) == (Code.MESSAGE_TOO_LONG, {"characters": 39, "limit": 20})


@pytest.mark.parametrize(
    ("parts_before", "binary", "forward"),
    [((HEADER, "{}"), False, [HEADER, "{}", '{"events":[]}']), ((), False, None), ((HEADER,), False, None)],
    ids=["content", "header", "metadata"],
)
def test_content_that_was_not_kept_is_refused(parts_before, binary, forward):
    socket = inspector("bokeh")
    for each in parts_before:
        assert socket.text(each) == HOLD_MESSAGE
    found = socket.too_big(b'{"events":[', 20_000_000, binary=binary)
    if forward is None:
        assert found is None
        return
    assert isinstance(found, RefuseMessage)
    assert (found.code, found.detail) == (Code.MESSAGE_TOO_LONG, {"bytes": 20_000_000})
    assert parts(found.forward) == forward
    assert isinstance(say(socket, sent("fine")), RewriteMessage)


def test_a_buffer_that_was_not_kept_ends_the_socket():
    socket = inspector("bokeh")
    say(socket, patched(), '{"msgid":"A","msgtype":"PATCH-DOC","num_buffers":1}')
    assert socket.text('{"id":"b1"}') == KEEP_MESSAGE
    assert socket.too_big(b"\x00", 20_000_000, binary=True) is None


def test_buffers_follow_their_header():
    socket = inspector("bokeh")
    header = '{"msgid":"A","msgtype":"PATCH-DOC","num_buffers":1}'
    assert isinstance(say(socket, patched(set_to({"type": "bytes", "data": {"id": "b1"}})), header), RewriteMessage)
    assert socket.text('{"id":"b1"}') == KEEP_MESSAGE
    found = socket.binary(b"\x00\xff")
    assert isinstance(found, KeepMessage)
    assert found.findings == (Finding(Event.MESSAGE_UNREADABLE, {"reason": "binary", "bytes": 2}),)
    assert isinstance(say(socket, sent("hi")), RewriteMessage)


def test_buffers_of_a_refused_message_that_left_no_place_are_dropped():
    socket = inspector("bokeh")
    found = say(socket, '{"doc":{"x":5},"text":"y"}', '{"msgid":"A","msgtype":"OTHER","num_buffers":1}')
    assert isinstance(found, RefuseMessage)
    assert found.forward == ()
    assert socket.text('{"id":"b1"}') == HOLD_MESSAGE
    assert socket.binary(b"\x00\xff") == HOLD_MESSAGE
    assert isinstance(say(socket, sent("hi")), RewriteMessage)


def test_other_messages_pass():
    found = say(inspector("bokeh"), "{}", '{"msgid":"A","msgtype":"PULL-DOC-REQ"}')
    assert isinstance(found, RewriteMessage)
    assert len(found.messages) == 3


UNREAD = {
    "no json": "x",
    "no header": '{"events":[]}',
    "markup": '{"msgid":"<b>","msgtype":"PATCH-DOC"}',
    "list": "[]",
    "many buffers": HEADER[:-1] + ',"num_buffers":1001}',
    "odd number": HEADER[:-1] + ',"num_buffers":1.0}',
}


@pytest.mark.parametrize("header", UNREAD.values(), ids=UNREAD)
def test_what_is_no_header_is_refused(header):
    found = inspector("bokeh").text(header)
    assert isinstance(found, RefuseMessage)
    assert found.event is Event.MESSAGE_UNREADABLE


def test_a_binary_message_that_no_header_announced_is_refused():
    assert isinstance(inspector("bokeh").binary(b"\x00"), RefuseMessage)


def test_text_in_the_metadata_is_refused_with_the_message():
    socket = inspector("bokeh")
    socket.text(HEADER)
    assert socket.text('{"x":"<b>"}') == HOLD_MESSAGE
    found = socket.text(patched())
    assert isinstance(found, RefuseMessage)
    assert parts(found.forward) == [HEADER, "{}", '{"events":[]}']


def test_on_wish_what_cannot_be_read_passes():
    assert isinstance(inspector("bokeh", on_uninspectable="pass").text("x"), KeepMessage)


def test_replies_stand_between_the_server_s_messages():
    socket = inspector("bokeh")
    messages = [b'{"msgid":"x","msgtype":"OK","num_buffers":1}', b"{}", b"{}", b'{"id":"b"}']
    assert [socket.passed(each, binary=False) for each in messages] == [False] * 4
    assert socket.passed(b"\x00", binary=True)
    assert [socket.passed(each, binary=False) for each in (b'{"msgtype":"OK"}', b"{}", b"{}")] == [False, False, True]
