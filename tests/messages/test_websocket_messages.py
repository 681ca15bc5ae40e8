from __future__ import annotations

import json

import pytest

from sidecar.decision import KEEP, Finding, Refuse, Rewrite
from sidecar.errors import Problems
from sidecar.messages.content_filter import ContentFilterGuard, compile_patterns
from sidecar.messages.message_guard import build_message_guard
from sidecar.messages.sockets.results import KEEP_MESSAGE, KeepMessage, RefuseMessage, RewriteMessage, SocketMessage
from sidecar.messages.websocket_messages import frame_guard
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import exchange


def built(protocol="plain", *, markup="escape", max_chars=10, on_uninspectable="refuse"):
    made = build_message_guard(
        protocol=protocol,
        fields=[],
        max_chars=max_chars,
        markup=markup,
        on_uninspectable=on_uninspectable,
        problems=Problems(),
    )
    assert made is not None
    return made


def socket(protocol="plain", patterns=None, **changes):
    return frame_guard(built(protocol, **changes), patterns).begin("/ws", "req", lambda: 1795766248.5)


def seen(result):
    """Return a result without its counts, and a refusal without its replies."""
    if isinstance(result, KeepMessage):
        return result.findings or KEEP_MESSAGE
    if isinstance(result, RewriteMessage):
        return RewriteMessage(result.messages, result.findings)
    return RefuseMessage(result.code, result.detail, result.event)


def changed(text, count=1):
    return RewriteMessage((SocketMessage(text.encode()),), (Finding(Event.MESSAGE_SANITIZED, {"markup": count}),))


def changed_binary(data):
    return RewriteMessage((SocketMessage(data, binary=True),), (Finding(Event.MESSAGE_SANITIZED, {"markup": 1}),))


def invalid(reason):
    return RefuseMessage(Code.MESSAGE_INVALID, {"reason": reason})


def unread(reason):
    return RefuseMessage(Code.MESSAGE_INVALID, {"reason": reason}, Event.MESSAGE_UNREADABLE)


def too_long(length):
    return RefuseMessage(Code.MESSAGE_TOO_LONG, {"characters": length, "limit": 10})


FRAMES = [
    ("plain", '{"message":"hi"}', KEEP_MESSAGE),
    ("plain", '{"message":"<b>"}', changed('{"message":"&lt;b>"}')),
    ("plain", '{"type":"typing"}', KEEP_MESSAGE),
    ("plain", '{"message":5}', invalid("no_text")),
    ("plain", '{"message":"0123456789a"}', too_long(11)),
    ("plain", '{"type":"ping","n":5}', KEEP_MESSAGE),
    ("plain", '{"type":"ping","text":"x"}', unread("no_text")),
    ("plain", '{"type":"<b>"}', unread("no_text")),
    ("plain", '{"note":"x"}', unread("no_text")),
    ("plain", '["x"]', unread("no_text")),
    ("plain", "hello", unread("not_json")),
    ("plain", "ping", KEEP_MESSAGE),
    ("plain", "", KEEP_MESSAGE),
    ("plain", '{"a":1,"a":2}', unread("duplicate_key")),
    ("plain", '{"message":"\ud800"}', unread("not_utf8")),
    ("openai-realtime", '{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"<b>"}]}}', changed('{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"&lt;b>"}]}}')),
    ("openai-realtime", '{"type":"input_audio_buffer.append","audio":"AAAA"}', KEEP_MESSAGE),
    ("chainlit", '42["client_message",{"message":{"id":"<i","output":"<b>"}}]', changed('42["client_message",{"message":{"id":"<i","output":"&lt;b>"}}]')),
    ("chainlit", '42/chat,17["client_message",{"message":{"output":"<b>"}}]', changed('42/chat,17["client_message",{"message":{"output":"&lt;b>"}}]')),
    ("chainlit", '451-["client_message",{"message":{"output":"<b>"},"file":{"_placeholder":true,"num":0}}]', changed('451-["client_message",{"message":{"output":"&lt;b>"},"file":{"_placeholder":true,"num":0}}]')),
    ("chainlit", '4313[{"output":"<b>"}]', changed('4313[{"output":"&lt;b>"}]')),
    ("chainlit", '42["client_message",{"message":{"output":"0123456789a"}}]', too_long(11)),
    ("chainlit", '42["stop"]', KEEP_MESSAGE),
    ("chainlit", '40{"token":"<secret"}', KEEP_MESSAGE),
    ("chainlit", "40/chat,", KEEP_MESSAGE),
    ("chainlit", "41", KEEP_MESSAGE),
    ("chainlit", "2probe", KEEP_MESSAGE),
    ("chainlit", "3", KEEP_MESSAGE),
    ("chainlit", "5", KEEP_MESSAGE),
    ("chainlit", "42", unread("not_json")),
    ("chainlit", "42[", unread("not_json")),
    ("chainlit", '42["x","y"] z', unread("not_json")),
    ("chainlit", '49["x"]', unread("not_a_packet")),
    ("chainlit", '{"message":"x"}', unread("not_a_packet")),
    ("chainlit", '42["unknown",{}]', unread("no_text")),
    ("chainlit", '42["client_message",{"message":{}}]', unread("no_text")),
    ("nicegui", '42["event",{"id":6,"args":["\\"<b>\\""]}]', changed('42["event",{"id":6,"args":["\\"&lt;b>\\""]}]')),
    ("nicegui", '42["event",{"id":6,"args":["{\\"value\\": \\"\\\\u003cb>\\"}"]}]', changed('42["event",{"id":6,"args":["{\\"value\\": \\"&lt;b>\\"}"]}]')),
    ("nicegui", '42["ack",{"client_id":"x","next_message_id":5}]', KEEP_MESSAGE),
    ("nicegui", '42["other",{}]', unread("no_text")),
    ("open-webui", '42["events:channel",{"data":{"content":"<b>"}}]', changed('42["events:channel",{"data":{"content":"&lt;b>"}}]')),
    ("auto", '42["client_message",{"message":{"output":"<b>"}}]', changed('42["client_message",{"message":{"output":"&lt;b>"}}]')),
    ("auto", '{"message":"<b>"}', changed('{"message":"&lt;b>"}')),
    ("auto", '{"type":"ping"}', KEEP_MESSAGE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "text", "result"), FRAMES, ids=[f"{row[0]} {ascii(row[1])[:36]}" for row in FRAMES]
)
def test_frames(protocol, text, result):
    assert seen(socket(protocol).text(text)) == result


def test_reject():
    assert seen(socket(markup="reject").text('{"message":"<b>"}')) == invalid("markup")


def test_what_cannot_be_read_passes_on_wish_and_is_recorded():
    found = socket(on_uninspectable="pass").text("hello")
    assert found == KeepMessage((Finding(Event.MESSAGE_UNREADABLE, {"reason": "not_json"}),))


def test_what_was_looked_at_is_counted():
    assert socket().text('{"message":"four"}') == KeepMessage((), 1, 4, counts=True)


def test_a_refusal_is_answered_as_the_protocol_s_errors_are():
    (reply,) = socket().text('{"message":5}').replies
    assert json.loads(reply.data) == {
        "error": "The message is not valid",
        "code": "MESSAGE_INVALID",
        "request_id": "req",
    }
    (reply,) = socket("openai-realtime").text('{"type":"x","event_id":"e1","item":{"content":[{"text":5}]}}').replies
    assert json.loads(reply.data) == {
        "type": "error",
        "event_id": "req-1",
        "error": {
            "type": "invalid_request_error",
            "code": "MESSAGE_INVALID",
            "message": "The message is not valid",
            "param": None,
            "event_id": "e1",
        },
    }


POLLED = [
    ("connect", b'40{"token":"<x"}', KEEP),
    ("several", b'2\x1e42["client_message",{"message":{"output":"<b>"}}]\x1e41', Rewrite(b'2\x1e42["client_message",{"message":{"output":"&lt;b>"}}]\x1e41', (Finding(Event.MESSAGE_SANITIZED, {"markup": 1}),), "markup=1")),
    ("odd, but no text", b'41}\x1e42["client_message",{"message":{"output":"<b>"}}]', Rewrite(b'41}\x1e42["client_message",{"message":{"output":"&lt;b>"}}]', (Finding(Event.MESSAGE_SANITIZED, {"markup": 1}),), "markup=1")),
    ("no packet", b'{"message":"x"}', Refuse(Code.MESSAGE_INVALID, {"reason": "not_a_packet"})),
    ("bad one", b"2\x1e42[", Refuse(Code.MESSAGE_INVALID, {"reason": "not_json"})),
    ("too long", b'42["client_message",{"message":{"output":"0123456789a"}}]', Refuse(Code.MESSAGE_TOO_LONG, {"characters": 11, "limit": 10})),
    ("bad UTF-8", b"42\xff", Refuse(Code.MESSAGE_INVALID, {"reason": "not_utf8"})),
    ("many", b"2\x1e" * 300, Refuse(Code.MESSAGE_INVALID, {"reason": "too_complex"})),
]  # fmt: skip


@pytest.mark.parametrize(("body", "decision"), [row[1:] for row in POLLED], ids=[row[0] for row in POLLED])
@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=UTF-8"])
def test_long_polling(body, decision, content_type):
    asked = exchange("POST", "/ws/socket.io/?EIO=4&transport=polling", content_type=content_type)
    assert built("chainlit").inspect(asked, body) == decision


def test_the_content_filter_looks_at_frames_too():
    patterns = compile_patterns({"foo": "foo"}, Problems())
    filtering = socket("chainlit", patterns)
    blocked = RefuseMessage(Code.CONTENT_BLOCKED, {"pattern": "foo"})
    assert seen(filtering.text('42["client_message",{"message":{"output":"a foo"}}]')) == blocked
    assert seen(filtering.text('42["client_message",{"message":{"output":"bar"}}]')) == KEEP_MESSAGE


def test_the_content_filter_looks_at_long_polling_too():
    patterns = compile_patterns({"foo": "foo"}, Problems())
    assert patterns is not None
    guard_ = ContentFilterGuard(built("chainlit").reader, patterns)
    asked = exchange("POST", "/ws/socket.io/", content_type="text/plain;charset=UTF-8")
    assert guard_.inspect(asked, b'42["client_message",{"message":{"output":"a foo"}}]') == Refuse(
        Code.CONTENT_BLOCKED, {"pattern": "foo"}
    )
    assert guard_.inspect(asked, b"40") is KEEP


JSON = '{"message": "<b>"}'
BINARIES = {
    "json": ("plain", JSON.encode(), changed_binary(b'{"message": "&lt;b>"}')),
    "fine-json": ("plain", b'{"message": "hi"}', KEEP_MESSAGE),
    "json-after-blanks": ("plain", b"\n " + JSON.encode(), changed_binary(b'\n {"message": "&lt;b>"}')),
    "json-as-utf-16": ("plain", JSON.encode("utf-16"), unread("not_utf8")),
    "json-as-utf-32": ("plain", JSON.encode("utf-32-le"), unread("not_json")),
    "json-with-a-mark": ("plain", JSON.encode("utf-8-sig"), unread("byte_order_mark")),
    "json-with-a-broken-letter": ("plain", b'{"message": "\xff<b>"}', unread("not_utf8")),
    "json-with-a-line-feed-in-a-text": ("plain", b'{"message": "\n<b>"}', unread("not_json")),
    "json-with-a-long-number": ("plain", b'{"message": "<b>", "n": 1' + b"0" * 5000 + b"}", unread("not_json")),
    "deep-json": ("plain", b"[" * 100_000 + b"]" * 100_000, unread("not_json")),
    "long-json": ("plain", b'{"message": "0123456789a"}', too_long(11)),
    "sound": ("plain", bytes(range(256)), unread("binary")),
    "sound-that-begins-like-json": ("plain", b"{" + bytes(range(256)), unread("not_utf8")),
    "nothing": ("plain", b"", unread("binary")),
    "an-attachment-that-nothing-announced": ("chainlit", b'{"a": "<b>"}', unread("binary")),
}  # fmt: skip


@pytest.mark.parametrize(("protocol", "data", "expected"), BINARIES.values(), ids=BINARIES)
def test_binary_messages_that_hold_json_are_looked_at(protocol, data, expected):
    assert seen(socket(protocol).binary(data)) == expected
