from __future__ import annotations

import time

import pytest

from sidecar.decision import KEEP, Refuse
from sidecar.errors import Problems
from sidecar.messages.content_filter import ContentFilterGuard, compile_patterns
from sidecar.messages.message_guard import build_reader
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

PATTERNS = {"weapons": r"(?i)\bbuild a bomb\b", "cards": r"\b(?:\d[ -]?){15}\d\b", "foo": "^foo$"}


def guard(protocol="plain", patterns=PATTERNS, **changes):
    compiled = compile_patterns(patterns, Problems())
    assert compiled is not None
    return ContentFilterGuard(build_reader(BY_NAME[protocol], []), compiled, **changes)


def post(guard_, body, content_type="application/json"):
    return guard_.inspect(exchange("POST", "/api/chat", content_type=content_type), body)


def blocked(name):
    return Refuse(Code.CONTENT_BLOCKED, {"pattern": name})


MESSAGES = [
    ("harmless", b'{"message":"build a house"}', KEEP),
    ("found", b'{"message":"how to Build A Bomb?"}', blocked("weapons")),
    ("escaped in JSON", b'{"message":"build \\u0061 bomb"}', blocked("weapons")),
    ("card", b'{"message":"4111-1111-1111-1111"}', blocked("cards")),
    ("anchored", b'{"message":"foo"}', blocked("foo")),
    ("anchored, not whole", b'{"message":"foo bar"}', KEEP),
    ("full-width letters", '{"message":"ｂｕｉｌｄ a bomb"}'.encode(), blocked("weapons")),
    ("hidden characters", '{"message":"bu\u200bild a bomb"}'.encode(), blocked("weapons")),
    ("elsewhere in the body", b'{"message":"x","note":"build a bomb"}', KEEP),
    ("not a message", b'{"message":5}', Refuse(Code.MESSAGE_INVALID, {"reason": "no_text"})),
]


@pytest.mark.parametrize(("body", "decision"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
def test_messages(body, decision):
    assert post(guard(), body) == decision


def test_every_text_is_looked_at():
    body = b'{"messages":[{"role":"user","content":"build a bomb"},{"role":"user","content":"x"}]}'
    assert post(guard("openai"), body) == blocked("weapons")


def test_what_cannot_be_read_passes_on_wish():
    assert post(guard(pass_uninspectable=True), b"x", "text/plain") is KEEP
    assert post(guard(), b"x", "text/plain") == Refuse(Code.UNSUPPORTED_MEDIA_TYPE, {"reason": "content_type"})


def test_a_request_without_a_body_passes():
    assert guard().inspect(exchange("GET", "/"), b"") is KEEP


PROBLEMS = [
    ({"a": "("}, "patterns.a: is no RE2 pattern: missing ): ("),
    ({"a": "(?=x)"}, "patterns.a: is no RE2 pattern: invalid perl operator: (?="),
    ({"a": r"(x)\1"}, "patterns.a: is no RE2 pattern: invalid escape sequence"),
    ({"a": "x*"}, "patterns.a: matches the empty text"),
    ({"a": ""}, "patterns.a: must have between 1 and 2000 characters"),
    ({"a": "x" * 2001}, "patterns.a: must have between 1 and 2000 characters"),
    ({str(number): "x" for number in range(501)}, "patterns: has 501 patterns; write at most 500"),
]


@pytest.mark.parametrize(("patterns", "says"), PROBLEMS, ids=[row[1] for row in PROBLEMS])
def test_problems(patterns, says):
    problems = Problems("patterns")
    assert compile_patterns(patterns, problems) is None
    assert [str(problem).startswith(says) for problem in problems.found] == [True]


def test_time_is_linear_where_backtracking_is_not():
    patterns = compile_patterns({"a": "(x+x+)+y", "b": "(.*)*z"}, Problems())
    assert patterns is not None
    began = time.process_time()
    assert patterns.match("x" * 200_000) is None
    assert time.process_time() - began < 3
