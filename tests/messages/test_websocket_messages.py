from __future__ import annotations

import pytest

from sidecar.decision import KEEP, Finding, Refuse, Rewrite
from sidecar.errors import Problems
from sidecar.messages.content_filter import ContentFilterGuard, compile_patterns
from sidecar.messages.message_guard import build_message_guard
from sidecar.messages.websocket_messages import FRAME_KEEP, RefuseMessage, RewriteMessage, frame_guard
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


def guard(protocol="plain", **changes):
    return frame_guard(built(protocol, **changes))


def changed(text, count=1):
    return RewriteMessage(text, (Finding(Event.MESSAGE_SANITIZED, {"markup": count}),))


def invalid(reason):
    return RefuseMessage(1008, "The message is not valid", Code.MESSAGE_INVALID, {"reason": reason})


def too_long(length):
    return RefuseMessage(1009, "The message is too long", Code.MESSAGE_TOO_LONG, {"characters": length, "limit": 10})


FRAMES = [
    ("plain", '{"message":"hi"}', FRAME_KEEP),
    ("plain", '{"message":"<b>"}', changed('{"message":"&lt;b>"}')),
    ("plain", '{"type":"typing"}', FRAME_KEEP),
    ("plain", '{"message":5}', invalid("no_text")),
    ("plain", '{"message":"0123456789a"}', too_long(11)),
    ("plain", "hello", invalid("not_json")),
    ("plain", "ping", FRAME_KEEP),
    ("plain", "", FRAME_KEEP),
    ("plain", '{"a":1,"a":2}', invalid("duplicate_key")),
    ("plain", '{"message":"\ud800"}', invalid("not_utf8")),
    ("openai-realtime", '{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"<b>"}]}}', changed('{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"&lt;b>"}]}}')),
    ("openai-realtime", '{"type":"input_audio_buffer.append","audio":"AAAA"}', FRAME_KEEP),
    ("chainlit", '42["client_message",{"message":{"id":"<i","output":"<b>"}}]', changed('42["client_message",{"message":{"id":"<i","output":"&lt;b>"}}]')),
    ("chainlit", '42/chat,17["client_message",{"message":{"output":"<b>"}}]', changed('42/chat,17["client_message",{"message":{"output":"&lt;b>"}}]')),
    ("chainlit", '451-["client_message",{"message":{"output":"<b>"},"file":{"_placeholder":true,"num":0}}]', changed('451-["client_message",{"message":{"output":"&lt;b>"},"file":{"_placeholder":true,"num":0}}]')),
    ("chainlit", '4313[{"output":"<b>"}]', changed('4313[{"output":"&lt;b>"}]')),
    ("chainlit", '42["client_message",{"message":{"output":"0123456789a"}}]', too_long(11)),
    ("chainlit", '42["stop"]', FRAME_KEEP),
    ("chainlit", '40{"token":"<secret"}', FRAME_KEEP),
    ("chainlit", "40/chat,", FRAME_KEEP),
    ("chainlit", "41", FRAME_KEEP),
    ("chainlit", "2probe", FRAME_KEEP),
    ("chainlit", "3", FRAME_KEEP),
    ("chainlit", "5", FRAME_KEEP),
    ("chainlit", "42", invalid("not_json")),
    ("chainlit", "42[", invalid("not_json")),
    ("chainlit", '42["x","y"] z', invalid("not_json")),
    ("chainlit", '49["x"]', invalid("not_a_packet")),
    ("chainlit", '{"message":"x"}', invalid("not_a_packet")),
    ("open-webui", '42["events:channel",{"data":{"content":"<b>"}}]', changed('42["events:channel",{"data":{"content":"&lt;b>"}}]')),
    ("auto", '42["client_message",{"message":{"output":"<b>"}}]', changed('42["client_message",{"message":{"output":"&lt;b>"}}]')),
    ("auto", '{"message":"<b>"}', changed('{"message":"&lt;b>"}')),
    ("auto", '{"type":"ping"}', FRAME_KEEP),
]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "text", "result"), FRAMES, ids=[f"{row[0]} {ascii(row[1])[:36]}" for row in FRAMES]
)
def test_frames(protocol, text, result):
    assert guard(protocol).inspect_text(text) == result


def test_reject_closes():
    assert guard(markup="reject").inspect_text('{"message":"<b>"}') == invalid("markup")


def test_what_cannot_be_read_passes_on_wish():
    assert guard(on_uninspectable="pass").inspect_text("hello") is FRAME_KEEP


def test_reasons_fit_into_a_close_frame():
    for code in Code:
        assert len(code.sentence.encode()) <= 123  # RFC 6455 §5.5


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
    filtering = frame_guard(built("chainlit"), patterns)
    blocked = RefuseMessage(1008, "This content is not allowed", Code.CONTENT_BLOCKED, {"pattern": "foo"})
    assert filtering.inspect_text('42["client_message",{"message":{"output":"a foo"}}]') == blocked
    assert filtering.inspect_text('42["client_message",{"message":{"output":"bar"}}]') == FRAME_KEEP


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
    "json": ("plain", JSON.encode(), changed('{"message": "&lt;b>"}')),
    "fine-json": ("plain", b'{"message": "hi"}', FRAME_KEEP),
    "json-after-blanks": ("plain", b"\n " + JSON.encode(), changed('\n {"message": "&lt;b>"}')),
    "json-as-utf-16": ("plain", JSON.encode("utf-16"), invalid("not_utf8")),
    "json-as-utf-32": ("plain", JSON.encode("utf-32-le"), invalid("not_json")),
    "json-with-a-mark": ("plain", JSON.encode("utf-8-sig"), invalid("byte_order_mark")),
    "json-with-a-broken-letter": ("plain", b'{"message": "\xff<b>"}', invalid("not_utf8")),
    "json-with-a-line-feed-in-a-text": ("plain", b'{"message": "\n<b>"}', invalid("not_json")),
    "json-with-a-long-number": ("plain", b'{"message": "<b>", "n": 1' + b"0" * 5000 + b"}", invalid("not_json")),
    "deep-json": ("plain", b"[" * 100_000 + b"]" * 100_000, invalid("too_deep")),
    "long-json": ("plain", b'{"message": "0123456789a"}', too_long(11)),
    "sound": ("plain", bytes(range(256)), FRAME_KEEP),
    "sound-that-begins-like-json": ("plain", b"{" + bytes(range(256)), FRAME_KEEP),
    "nothing": ("plain", b"", FRAME_KEEP),
    "an-attachment": ("chainlit", b'{"a": "<b>"}', FRAME_KEEP),
}  # fmt: skip


@pytest.mark.parametrize(("protocol", "data", "expected"), BINARIES.values(), ids=BINARIES)
def test_binary_messages_that_hold_json_are_looked_at(protocol, data, expected):
    assert guard(protocol).inspect_binary(data) == expected
