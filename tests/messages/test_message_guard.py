from __future__ import annotations

import base64
import gzip
import json

import pytest

from sidecar.admission import inspect
from sidecar.decision import KEEP, Finding, Keep, Refuse, Rewrite
from sidecar.errors import Problems
from sidecar.guard import BodyStep
from sidecar.messages.message_guard import build_message_guard
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import Recorder, exchange


def guard(**changes):
    words = {
        "protocol": "plain",
        "fields": ["$.message"],
        "max_chars": 10,
        "markup": "escape",
        "on_uninspectable": "refuse",
    }
    problems = Problems()
    built = build_message_guard(**(words | changes), problems=problems)
    assert built is not None, problems.found
    return built


def posted(body, *, content_type="application/json", encoding="", method="POST", target="/api/chat", **changes):
    fields = {"content_type": content_type} if content_type else {}
    if encoding:
        fields["content_encoding"] = encoding
    return guard(**changes).inspect(exchange(method, target, **fields), body)


def sanitized(body, drop=(), **counts):
    header = ", ".join(f"{kind}={count}" for kind, count in counts.items())
    return Rewrite(body, (Finding(Event.MESSAGE_SANITIZED, counts),), header, drop)


def invalid(reason):
    return Refuse(Code.MESSAGE_INVALID, {"reason": reason})


def unread(reason="no_text"):
    return Refuse(Code.MESSAGE_INVALID, {"reason": reason}, event=Event.MESSAGE_UNREADABLE)


def passed(reason):
    return Keep((Finding(Event.MESSAGE_UNREADABLE, {"reason": reason}),))


def unsupported(reason):
    return Refuse(Code.UNSUPPORTED_MEDIA_TYPE, {"reason": reason})


OPENED = (b"content-encoding",)
DECIDES = [
    ("harmless", {"body": b'{"message":"3 < 5"}'}, KEEP),
    ("escaped", {"body": b'{"n":1e5,"message":"<b>"}'}, sanitized(b'{"n":1e5,"message":"&lt;b>"}', markup=1)),
    ("all kinds", {"body": '{"message":"<b\u200b[](javascript:"}'.encode(), "max_chars": 99}, sanitized(b'{"message":"&lt;b[](unsafe:javascript:"}', markup=1, invisible=1, link=1)),
    ("strip", {"body": b'{"message":"<b>x"}', "markup": "strip"}, sanitized(b'{"message":"x"}', markup=1)),
    ("reject", {"body": b'{"message":"<b>x"}', "markup": "reject"}, invalid("markup")),
    ("keep", {"body": b'{"message":"<b>x"}', "markup": "keep"}, KEEP),
    ("just short enough", {"body": b'{"message":"0123456789"}'}, KEEP),
    ("characters, not bytes", {"body": '{"message":"éééééééééé"}'.encode()}, KEEP),
    ("too long", {"body": b'{"message":"0123456789a"}'}, Refuse(Code.MESSAGE_TOO_LONG, {"characters": 11, "limit": 10})),
    ("no limit", {"body": b'{"message":"0123456789a"}', "max_chars": None}, KEEP),
    ("number", {"body": b'{"message":5}'}, invalid("no_text")),
    ("missing", {"body": b'{"msg":"x"}'}, unread()),
    ("missing, passed on wish", {"body": b'{"msg":"x"}', "on_uninspectable": "pass"}, passed("no_text")),
    ("array", {"body": b'["x"]'}, invalid("no_text")),
    ("twice", {"body": b'{"message":"a","message":"b"}'}, invalid("duplicate_key")),
    ("not JSON", {"body": b"message=x"}, invalid("not_json")),
    ("empty POST", {"body": b""}, unread()),
    ("empty POST of an operation with text", {"body": b"", "protocol": "openai", "fields": []}, unread()),
    ("empty POST without a type", {"body": b"", "content_type": ""}, unread()),
    ("empty POST passed on wish", {"body": b"", "on_uninspectable": "pass"}, passed("no_text")),
    ("empty POST where text may be missing", {"body": b"", "protocol": "langgraph", "fields": [], "content_type": ""}, KEEP),
    ("GET without body", {"body": b"", "method": "GET", "content_type": ""}, KEEP),
    ("HEAD without body", {"body": b"", "method": "HEAD", "content_type": ""}, KEEP),
    ("GET with a body", {"body": b'{"message":5}', "method": "GET"}, invalid("no_text")),
    ("no type", {"body": b'{"message":"x"}', "content_type": ""}, unsupported("no_content_type")),
    ("text/plain", {"body": b'{"message":"x"}', "content_type": "text/plain"}, unsupported("content_type")),
    ("UTF-7", {"body": b'{"message":"+ADw-b>"}', "content_type": "application/json; charset=utf-7"}, unsupported("charset")),
    ("passed on wish", {"body": b"x", "content_type": "text/plain", "on_uninspectable": "pass"}, passed("content_type")),
    ("bad JSON passed on wish", {"body": b"{", "on_uninspectable": "pass"}, passed("not_json")),
    ("what is no text is refused even so", {"body": b'{"message":5}', "on_uninspectable": "pass"}, invalid("no_text")),
    ("capital beside it", {"body": b'{"message":"x","Message":"<b>"}'}, invalid("odd_field_name")),
    ("capital escaped", {"body": b'{"message":"x","\\u004dessage":"<b>"}'}, invalid("odd_field_name")),
    ("long s", {"body": '{"message":"x","me\u017fsage":"<b>"}'.encode()}, invalid("odd_field_name")),
    ("capital in a part", {"protocol": "openai", "fields": [], "body": b'{"messages":[{"content":"x","Content":"<b>"}]}'}, invalid("odd_field_name")),
    ("NUL behind it", {"body": b'{"message":"x","message\\u0000":"<b>"}'}, invalid("odd_field_name")),
    ("NUL and more behind it", {"body": b'{"message":"x","message\\u0000y":"<b>"}'}, invalid("odd_field_name")),
    ("blank behind it", {"body": b'{"message":"x","message ":"<b>"}'}, invalid("odd_field_name")),
    ("zero-width space in it", {"body": '{"message":"x","mes\u200bsage":"<b>"}'.encode()}, invalid("odd_field_name")),
    ("alias of Pydantic", {"fields": ["$.user_message"], "body": b'{"user_message":"x","userMessage":"<b>"}'}, invalid("odd_field_name")),
    ("blank in a part", {"protocol": "openai", "fields": [], "body": b'{"messages":[{"content":"x","content ":"<b>"}]}'}, invalid("odd_field_name")),
    ("capital instead", {"protocol": "langgraph", "fields": [], "body": b'{"Input":{"messages":[{"content":"<b>"}]}}'}, invalid("odd_field_name")),
    ("capital elsewhere", {"body": b'{"message":"x","meta":{"Message":"<b>"}}'}, KEEP),
    ("capital in a text", {"body": b'{"message":"\\"Message\\""}'}, KEEP),
    ("gzip harmless", {"body": gzip.compress(b'{"message":"x"}'), "encoding": "gzip"}, Rewrite(b'{"message":"x"}', drop=OPENED)),
    ("gzip escaped", {"body": gzip.compress(b'{"message":"<b>"}'), "encoding": "gzip"}, sanitized(b'{"message":"&lt;b>"}', OPENED, markup=1)),
    ("gzip bomb", {"body": gzip.compress(bytes(9 << 20)), "encoding": "gzip"}, Refuse(Code.BODY_TOO_LARGE, {"reason": "too_big"})),
    ("brotli", {"body": b"x", "encoding": "br"}, unsupported("content_encoding")),
    ("field path", {"body": b'{"a":[{"b":"<i"}]}', "fields": ["$.a[*].b"]}, sanitized(b'{"a":[{"b":"&lt;i"}]}', markup=1)),
    ("chat parts", {"protocol": "openai", "fields": [], "body": b'{"messages":[{"role":"user","content":[{"type":"text","text":"<b"}]}],"tools":["<t"]}'}, sanitized(b'{"messages":[{"role":"user","content":[{"type":"text","text":"&lt;b"}]}],"tools":["<t"]}', markup=1)),
    ("a tag over two parts", {"protocol": "openai", "fields": [], "body": b'{"messages":[{"content":["<","","b>"]}]}'}, sanitized(b'{"messages":[{"content":["&lt;","","b>"]}]}', markup=1)),
    ("an arrow before a part", {"protocol": "openai", "fields": [], "body": b'{"messages":[{"content":["a <"," b"]}]}'}, KEEP),
    ("a rejected tag over two parts", {"protocol": "openai", "fields": [], "markup": "reject", "body": b'{"messages":[{"content":["<","b>"]}]}'}, invalid("markup")),
    ("long history", {"protocol": "openai", "fields": [], "body": b'{"messages":[{"role":"user","content":"0123456789abc"},{"role":"user","content":"short"}]}'}, KEEP),
    ("auto", {"protocol": "auto", "fields": [], "body": b'{"jsonrpc":"2.0","message":"<b"}'}, sanitized(b'{"jsonrpc":"2.0","message":"&lt;b"}', markup=1)),
    ("auto, nothing known", {"protocol": "auto", "fields": [], "body": b'{"x":"<b"}'}, unread()),
    ("auto, a path that needs no text", {"protocol": "auto", "fields": [], "target": "/chatkit", "body": b'{"type":"items.list","params":{"thread_id":"t"}}'}, KEEP),
    ("auto, that body elsewhere", {"protocol": "auto", "fields": [], "body": b'{"type":"items.list","params":{"limit":5}}'}, unread()),
    ("auto, a path that needs text", {"protocol": "auto", "fields": [], "target": "/v1/messages", "body": b'{"type":"items.list","params":{}}'}, unread()),
    ("auto, no text in its place", {"protocol": "auto", "fields": [], "target": "/chatkit", "body": b'{"type":"x","params":{"title":5}}'}, invalid("no_text")),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "decision"), [row[1:] for row in DECIDES], ids=[row[0] for row in DECIDES])
def test_decides(request_, decision):
    assert posted(**request_) == decision


FORM = "application/x-www-form-urlencoded"
FORMS = [
    ("harmless", b"message=a+b%21&x=1", KEEP),
    ("escaped", b"x=%3Cb&message=%3Cb%3E+x&y=", sanitized(b"x=%3Cb&message=%26lt%3Bb%3E+x&y=", markup=1)),
    ("escaped name", b"%6dessage=%3Cb", sanitized(b"%6dessage=%26lt%3Bb", markup=1)),
    ("too long", b"message=0123456789a", Refuse(Code.MESSAGE_TOO_LONG, {"characters": 11, "limit": 10})),
    ("twice", b"message=a&message=b", invalid("duplicate_key")),
    ("array name", b"message[]=a", invalid("odd_field_name")),
    ("nested name", b"message[x]=a&message=b", invalid("odd_field_name")),
    ("blank before the name", b"+message=a", invalid("odd_field_name")),
    ("semicolon in a name", b"x;message=a", invalid("odd_field_name")),
    ("capital", b"message=hi&Message=%3Cb", invalid("odd_field_name")),
    ("joined by PHP", b"message=hi&mess.age=x&.message=%3Cb", invalid("odd_field_name")),
    ("below a prefix", b"message=hi&chat.Message=%3Cb", invalid("odd_field_name")),
    ("semicolon before a field", b"x=1;message=%3Cb&message=hi", invalid("odd_field_name")),
    ("semicolon before another", b"x=1;y=2&message=hi;", KEEP),
    ("UTF-7", b"_charset_=utf-7&message=hi", invalid("charset")),
    ("UTF-8 by name", b"_charset_=UTF-8&utf8=%E2%9C%93&message=hi", KEEP),
    ("Latin-1 by qs", b"utf8=%26%2310003%3B&message=hi", invalid("charset")),
    ("bad percent", b"message=%zz", invalid("bad_percent")),
    ("bad UTF-8", b"message=%ff", invalid("not_utf8")),
    ("missing", b"x=1", unread()),
    ("many", b"a&" * 1001, invalid("too_many_fields")),
]


@pytest.mark.parametrize(("body", "decision"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
def test_forms(body, decision):
    assert posted(body, content_type=FORM) == decision


def part(name, value, extra=b""):
    return b'--b\r\nContent-Disposition: form-data; name="' + name + b'"' + extra + b"\r\n\r\n" + value + b"\r\n"


FILE = b'; filename="a.html"\r\nContent-Type: text/html'
MULTIPART = [
    ("harmless", part(b"message", b"x") + b"--b--\r\n", KEEP),
    ("escaped", part(b"f", b"<html>\0\xff", FILE) + part(b"message", b"<b>") + b"--b--", sanitized(part(b"f", b"<html>\0\xff", FILE) + part(b"message", b"&lt;b>") + b"--b--", markup=1)),
    ("empty", part(b"message", b"") + b"--b--", KEEP),
    ("twice", part(b"message", b"x") * 2 + b"--b--", invalid("duplicate_key")),
    ("as a file", part(b"message", b"x", FILE) + b"--b--", invalid("odd_field")),
    ("typed", part(b"message", b"x", b"\r\nContent-Type: text/plain; charset=utf-16") + b"--b--", invalid("content_type")),
    ("encoded", part(b"message", b"x", b"\r\nContent-Transfer-Encoding: base64") + b"--b--", invalid("odd_field")),
    ("other spelling", part(b"message", b"x", b"; name*=utf-8''y") + b"--b--", invalid("bad_multipart")),
    ("capital", part(b"message", b"x") + part(b"Message", b"<b>") + b"--b--", invalid("odd_field_name")),
    ("percent escape", part(b"message", b"x") + part(b"%6dessage", b"<b>") + b"--b--", invalid("odd_field_name")),
    ("UTF-16", part(b"_charset_", b"utf-16") + part(b"message", b"x") + b"--b--", invalid("charset")),
    ("UTF-8 by name", part(b"_charset_", b"utf-8") + part(b"message", b"x") + b"--b--", KEEP),
    ("file with an extended name", part(b"f", b"<b>", b"; filename=\"a\"; filename*=UTF-8''%e2%82%ac") + part(b"message", b"x") + b"--b--", KEEP),
    ("file with an extended name only", part(b"message", b"<b>", b"; filename*=UTF-8''a") + b"--b--", invalid("odd_field")),
    ("header twice", part(b"message", b"x", b'\r\nContent-Disposition: form-data; name="y"') + b"--b--", invalid("bad_multipart")),
    ("preamble", b"x\r\n" + part(b"message", b"x") + b"--b--", invalid("bad_multipart")),
    ("epilogue", part(b"message", b"x") + b"--b--\r\nmore", invalid("bad_multipart")),
    ("unclosed", part(b"message", b"x"), invalid("bad_multipart")),
    ("boundary after a bare line feed", part(b"message", b"x\n--b\n") + b"--b--", invalid("bad_multipart")),
    ("boundary made by removal", part(b"message", b"x\r\n-\xe2\x80\x8b-b") + b"--b--", invalid("bad_multipart")),
    ("bad UTF-8", part(b"message", b"\xff") + b"--b--", invalid("not_utf8")),
    ("array name", part(b"message[]", b"x") + b"--b--", invalid("odd_field_name")),
    ("missing", part(b"x", b"x") + b"--b--", unread()),
]  # fmt: skip


@pytest.mark.parametrize(("body", "decision"), [row[1:] for row in MULTIPART], ids=[row[0] for row in MULTIPART])
def test_multipart(body, decision):
    assert posted(body, content_type="multipart/form-data; boundary=b") == decision


@pytest.mark.parametrize("query", ["message=%3Cb", "Message=x", "a=b&message[]=x"])
def test_a_form_beside_a_query_of_its_name(query):
    asked = {"body": b"message=hi", "content_type": FORM}
    assert posted(**asked, target=f"/api/chat?{query}") == invalid("field_in_query")
    assert posted(**asked, target="/api/chat?x=message") == KEEP


def test_forms_are_for_routes_that_name_fields():
    assert posted(b"message=x", content_type=FORM, protocol="openai", fields=[]) == unsupported("content_type")


PROBLEMS = [
    ({"protocol": "nope"}, "message.protocol: 'nope' is not a known protocol; write one of plain, "),
    ({"markup": "nope"}, "message.markup: 'nope' is not known; write one of escape, strip, reject, keep"),
    ({"on_uninspectable": "nope"}, "message.on_uninspectable: 'nope' is not known; write `refuse` or `pass`"),
    ({"max_chars": 0}, "message.max_chars: must be at least 1; write `null` for no limit"),
    ({"fields": ["$.a", "b"]}, "message.fields[1]: a path starts with `$` at character 1; write a path like"),
]


@pytest.mark.parametrize(("changes", "says"), PROBLEMS, ids=[str(row[0]) for row in PROBLEMS])
def test_problems(changes, says):
    words = {"protocol": "plain", "fields": [], "max_chars": 1, "markup": "escape", "on_uninspectable": "refuse"}
    problems = Problems("message")
    assert build_message_guard(**(words | changes), problems=problems) is None
    assert [str(problem).startswith(says) for problem in problems.found] == [True]


def test_all_problems_at_once():
    problems = Problems("message")
    words = {"protocol": "x", "fields": ["x", "y"], "max_chars": 0, "markup": "x", "on_uninspectable": "x"}
    assert build_message_guard(**words, problems=problems) is None
    assert len(problems.found) == 6


def test_the_loop_carries_what_the_head_must_lose():
    recorder = Recorder()
    asked = exchange("POST", "/api/chat", content_type="application/json", content_encoding="gzip")
    body = gzip.compress(b'{"message":"<b>"}')
    result = inspect(asked, body, [BodyStep(guard()), BodyStep(guard(max_chars=50))], recorder)
    assert result == Rewrite(b'{"message":"&lt;b>"}', drop=OPENED)
    assert asked.notes == {"X-Sidecar-Sanitized": "markup=1"}
    assert recorder.names() == ["MESSAGE_SANITIZED"]
    assert json.dumps(recorder.events[0].detail) == '{"markup": 1}'


def test_observing_changes_nothing():
    recorder = Recorder()
    asked = exchange("POST", "/api/chat", content_type="application/json")
    assert inspect(asked, b'{"message":"<b>"}', [BodyStep(guard(), enforce=False)], recorder) is KEEP
    assert inspect(asked, b'{"message":5}', [BodyStep(guard(), enforce=False)], recorder) is KEEP
    assert [event.outcome.value for event in recorder.events] == ["observed", "observed"]


def test_details_hold_no_text():
    secret = "sk-" + base64.b32encode(bytes(range(30))).decode()
    for body in (
        f'{{"message":"<b>{secret}"}}',
        f'{{"message":"x","message":"{secret}"}}',
        f'{{"x":"{secret}"}}',
        secret,
    ):
        result = posted(body.encode(), max_chars=100)
        shown = (
            repr(getattr(result, "findings", ())) + repr(getattr(result, "detail", {})) + getattr(result, "changes", "")
        )
        assert secret not in shown
