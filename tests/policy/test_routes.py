"""Which route a path takes, however it is spelled."""

from __future__ import annotations

import pytest

from sidecar.policy.routes import Pattern, RouteTable

TABLE = RouteTable(
    [
        (Pattern("/api/chat", frozenset({"POST"})), "chat"),
        (Pattern("/assets/*"), "assets"),
        (Pattern("/api/threads/*/runs"), "runs"),
    ],
    "unmatched",
)


@pytest.mark.parametrize(
    "path",
    [
        "/api/chat", "/API/Chat", "/api/chat/", "//api//chat", "/api/./chat", "/api/x/../chat", "/api/%63hat",
        "/api%2Fchat", "/api\\chat", "/api/chat;v=1", "/api/chat/%2e", "/api/chat/..;/chat",
    ],
)  # fmt: skip
def test_every_spelling_of_a_path_takes_its_route(path: str):
    assert TABLE.find("POST", path) == "chat"


@pytest.mark.parametrize("path", ["/assets/..%2fapi/chat", "/assets/../api/chat", "/assets/%2e%2e/x"])
def test_a_path_of_two_routes_has_none(path: str):
    assert TABLE.find("POST", path) is None


@pytest.mark.parametrize(
    "path",
    ["/api/chat%0a", "/api/chat%0D", "/api/chat%00", "/api/chat%00/../../x", "/x%7f", "/%1f", "/assets/a%09b"],
)
def test_a_path_with_control_characters_has_no_route(path: str):
    # "^/api/chat$" matches "/api/chat\n" in Python, PHP and Ruby; C reads "/api/chat\0x" as "/api/chat".
    assert TABLE.find("POST", path) is None


@pytest.mark.parametrize("path", ["/api/chat%20", "/api/caf%C3%A9", "/api/chat%25"])
def test_other_escapes_are_letters_like_others(path: str):
    assert TABLE.find("POST", path) == "unmatched"


PATTERNS = [
    "/", "/*", "/api", "/api/*", "/api/chat", "/api/*/chat", "/api/v*/chat", "/**/ws", "/a/**/ws", "/a/**/ws/*",
    "/API/Mixed", "/x.y/z", "/a/b/c/d/e",
]  # fmt: skip
PATHS = [
    "", "/", "/api", "/api/", "/api/chat", "/api/v1/chat", "/api/x/chat", "/apis", "/ap", "/ws", "/a/ws", "/a/b/ws",
    "/a/b/ws/x", "/ab/ws", "/api/mixed", "/x.y/z", "/xay/z", "/a/b/c/d/e", "/a/b/c/d/e/f", "/a/b/c/d", "//api", "/api//chat",
    "/%61pi/chat", "/" + "a/" * 3000, "*",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:20] or "empty")
def test_looking_up_by_the_beginning_finds_what_asking_every_pattern_does(path: str):
    for turn in range(len(PATTERNS)):
        patterns = [Pattern(each) for each in PATTERNS[turn:] + PATTERNS[:turn]]
        table = RouteTable([(each, each.path) for each in patterns], "unmatched")
        found = (each.path for each in patterns if each.compiled().fullmatch(path))
        assert table._match("GET", path) == next(found, "unmatched")
