from __future__ import annotations

import re

import pytest

from sidecar.policy.kinds.overlap import overlap
from sidecar.policy.routes import Pattern

CHAT = "/**/chat/completions"
CASES = [
    (CHAT, "/v1/*", ["/v1/**/chat/completions"]),
    (CHAT, "/v1/chat/*", ["/v1/chat/completions", "/v1/chat/**/chat/completions"]),
    (CHAT, "/*", [CHAT]),
    (CHAT, CHAT, [CHAT]),
    (CHAT, "/v1/chat/completions", ["/v1/chat/completions"]),
    (CHAT, "/V1/Chat/Completions", ["/V1/chat/completions"]),
    (CHAT, "/*/chat/completions", ["/*/chat/completions"]),
    (CHAT, "/v1/models", []),
    ("/threads/*/runs", "/threads/*", ["/threads/*/runs"]),
    ("/**/threads/*/runs", "/threads/*", ["/threads/*/runs", "/threads/**/threads/*/runs"]),
    ("/**/models/*:generateContent", "/v1/models/gemini*", ["/v1/models/*:generateContent"]),
    ("/**/models/*:countTokens", "/v1/models/gemini:countTokens", ["/v1/models/gemini:countTokens"]),
    ("/**/ws", "/**/app/*", ["/**/app/**/ws"]),
    ("/**/mcp/*", "/x/*", ["/x/**/mcp/*"]),
    ("/a/*", "/*", ["/a/*"]),
    ("/*", "/*", ["/*"]),
    ("/", "/*", ["/"]),
    ("/a", "/b", []),
]


@pytest.mark.parametrize(("one", "other", "expected"), CASES, ids=[f"{one} and {other}" for one, other, _ in CASES])
def test_the_paths_that_two_patterns_take(one, other, expected):
    assert [each.path for each in overlap(Pattern(one), Pattern(other))] == expected
    assert bool(overlap(Pattern(other), Pattern(one))) is bool(expected)


METHODS = [((), (), []), (("POST",), (), ["POST"]), ((), ("GET",), ["GET"]), (("GET", "POST"), ("POST",), ["POST"])]


@pytest.mark.parametrize(("one", "other", "expected"), METHODS)
def test_their_methods(one, other, expected):
    (found,) = overlap(Pattern("/a", frozenset(one)), Pattern("/a", frozenset(other)))
    assert sorted(found.methods) == expected


def test_methods_that_do_not_meet():
    assert overlap(Pattern("/a", frozenset({"GET"})), Pattern("/a", frozenset({"POST"}))) == []


SEGMENTS = ["a", "b", "ab"]
PATHS = ["", *(f"/{x}" for x in SEGMENTS), *(f"/{x}/{y}" for x in SEGMENTS for y in SEGMENTS)]
PATHS += [f"/{x}/{y}/{z}" for x in SEGMENTS for y in SEGMENTS for z in SEGMENTS]
PATTERNS = ["/*", "/a", "/a/*", "/*/b", "/**/b", "/**/a/b", "/a/**/b", "/**/a/*", "/a/*/*", "/**/a*/**/b", "/*b/a"]


@pytest.mark.parametrize("one", PATTERNS)
@pytest.mark.parametrize("other", PATTERNS)
def test_no_path_is_lost(one, other):
    def taken(patterns):
        matching = [re.compile(each.expression()) for each in patterns]
        return {path for path in PATHS if any(each.fullmatch(path) for each in matching)}

    both = taken([Pattern(one)]) & taken([Pattern(other)])
    assert taken(overlap(Pattern(one), Pattern(other))) >= both
