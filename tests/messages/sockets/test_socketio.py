from __future__ import annotations

import json

from sidecar.decision import Finding
from sidecar.messages.sockets.results import HOLD_MESSAGE, KEEP_MESSAGE, KeepMessage, RefuseMessage, RewriteMessage
from sidecar.vocabulary import Code, Event
from tests.support.sockets import inspector


def said(reply):
    start = reply.data.index(b"[")
    return reply.data[:start].decode(), json.loads(reply.data[start:])


def test_chainlit_shows_a_refusal_in_the_conversation():
    socket = inspector("chainlit")
    long = json.dumps(["client_message", {"message": {"output": "x" * 21}}])
    found = socket.text("42" + long)
    assert isinstance(found, RefuseMessage)
    shown, ended = map(said, found.replies)
    assert shown == (
        "42",
        ["new_message", {
            "id": "req-1",
            "name": "Error",
            "type": "assistant_message",
            "output": "The message is too long",
            "isError": True,
            "createdAt": "2026-11-27T07:57:28.000Z",
        }],
    )  # fmt: skip
    assert ended == ("42", ["task_end", {}])
    again = socket.text("42/chat,7" + long)
    assert isinstance(again, RefuseMessage)
    prefix, event = said(again.replies[0])
    assert (prefix, event[1]["id"]) == ("42/chat,", "req-2")


def test_settings_of_chainlit_do_not_count():
    found = inspector("chainlit").text('42["chat_settings_change",{"name":"Ann"}]')
    assert isinstance(found, KeepMessage)
    assert not found.counts


def event(*args: str) -> str:
    return "42" + json.dumps(["event", {"id": 6, "listener_id": "l", "args": list(args)}])


def test_nicegui_keeps_drafts_short_and_does_not_count_them():
    socket = inspector("nicegui")
    found = socket.text(event('"hello"'))
    assert isinstance(found, KeepMessage)
    assert not found.counts
    found = socket.text(event('"' + "x" * 21 + '"'))
    assert isinstance(found, RefuseMessage)
    assert [said(each) for each in found.forward] == [said_event('""')]
    note = {"message": "The message is too long", "color": "negative", "position": "top"}
    assert [said(each) for each in found.replies] == [("42", ["notify", note])]


def said_event(*args: str):
    return ("42", ["event", {"id": 6, "listener_id": "l", "args": list(args)}])


def test_nicegui_counts_what_is_sent_off():
    socket = inspector("nicegui")
    found = socket.text(event('{"type":"keydown","key":"Enter"}'))
    assert isinstance(found, KeepMessage)
    assert found.counts
    refused = socket.refused(Code.RATE_LIMIT_EXCEEDED, {})
    assert refused.forward == ()


def test_attachments_follow_their_packet():
    socket = inspector("chainlit")
    assert isinstance(socket.binary(b"x"), RefuseMessage)
    assert isinstance(socket.text('451-["audio_chunk",{"data":{"_placeholder":true,"num":0}}]'), KeepMessage)
    assert socket.binary(b"\x00") == KEEP_MESSAGE
    assert isinstance(socket.binary(b"\x00"), RefuseMessage)


def test_attachments_of_a_refused_packet_are_dropped():
    socket = inspector("chainlit")
    assert isinstance(socket.text('451-["unknown",{"data":{"_placeholder":true,"num":0}}]'), RefuseMessage)
    assert socket.binary(b"\x00") == HOLD_MESSAGE


def test_json_in_a_string_that_readers_take_differently_is_refused():
    assert isinstance(inspector("nicegui").text(event(r'{"a":1,"a":"\u003cb>"}')), RefuseMessage)
    found = inspector("nicegui").text(event("no json <b>"))
    assert isinstance(found, RewriteMessage)
    assert found.messages[0].data.decode() == event("no json &lt;b>")


# --- messages that were too big to be kept -----------------------------------------------------------


def test_chainlit_shows_the_refusal_of_a_message_that_was_not_kept():
    found = inspector("chainlit").too_big(
        b'42/chat,["client_message",{"message":{"output":"xxx', 2_000_000, binary=False
    )
    assert isinstance(found, RefuseMessage)
    assert (found.code, found.detail, found.forward) == (Code.MESSAGE_TOO_LONG, {"bytes": 2_000_000}, ())
    assert [said(each)[1][0] for each in found.replies] == ["new_message", "task_end"]
    assert said(found.replies[0])[0] == "42/chat,"


def test_nicegui_empties_the_box_of_a_text_that_was_not_kept():
    head = event('"' + "x" * 4000)[:4000].encode()
    found = inspector("nicegui").too_big(head, 2_000_000, binary=False)
    assert isinstance(found, RefuseMessage)
    assert [said(each) for each in found.forward] == [said_event('""')]


def test_a_beginning_that_says_nothing_is_refused_all_the_same():
    for head in (b"", b"42", b'42["event",{"args":["', b'42["event",[1],"args":["\\"x', b"\xff\xff"):
        found = inspector("nicegui").too_big(head, 2_000_000, binary=False)
        assert isinstance(found, RefuseMessage)
        assert found.forward == ()


def test_attachments_that_are_no_sound_are_recorded_as_unread():
    socket = inspector("chainlit")
    assert isinstance(
        socket.text('451-["call_action",{"output":"hi","file":{"_placeholder":true,"num":0}}]'), KeepMessage
    )
    found = socket.binary(b"\x00\x01")
    assert isinstance(found, KeepMessage)
    assert found.findings == (Finding(Event.MESSAGE_UNREADABLE, {"reason": "binary", "bytes": 2}),)
    socket.text('451-["audio_chunk",{"data":{"_placeholder":true,"num":0}}]')
    assert socket.binary(b"\x00\x01") == KEEP_MESSAGE


def test_attachments_go_with_their_packet():
    socket = inspector("chainlit")
    assert isinstance(socket.too_big(b'451-["client_message",{"x":', 2_000_000, binary=False), RefuseMessage)
    assert socket.binary(b"\x00") == HOLD_MESSAGE
    assert isinstance(socket.binary(b"\x00"), RefuseMessage)
    assert socket.text('451-["audio_chunk",{"data":{"_placeholder":true,"num":0}}]') == KEEP_MESSAGE
    assert socket.too_big(b"\x00", 2_000_000, binary=True) is None
