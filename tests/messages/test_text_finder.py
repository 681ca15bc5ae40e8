"""Fields of a policy, turns by their roles, and what the length limit counts."""

from __future__ import annotations

import pytest

from sidecar.json_path import compile_path
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.messages.text_finder import counted, finder, of_roles

TEXT = {"type": "text", "text": "t"}


def test_fields_stand_instead_of_the_plain_message():
    places = finder(BY_NAME["plain"], [compile_path("$.q"), compile_path("$.more[*]")])
    assert places.find({"q": "a", "more": ["b"], "message": 5}) == [(("q",), "a"), (("more", 0), "b")]
    assert places.find({"q": "a", "more": [5]}) is None
    assert places.find({"message": "a"}) == []


ROLES = [
    ("openai", {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, ["b"]),
    ("anthropic", {"system": "a", "messages": [{"role": "user", "content": [TEXT, {"type": "tool_result", "content": [{"text": "c"}]}]}]}, ["t"]),
    ("openai-responses", {"instructions": "a", "input": [{"role": "developer", "content": "b"}, {"role": "user", "content": "c"}]}, ["c"]),
    ("open-webui", {"user_message": {"content": "a"}, "messages": [{"role": "system", "content": "b"}]}, ["a"]),
    ("plain", {"message": "a"}, ["a"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "texts"), ROLES, ids=[row[0] for row in ROLES])
def test_roles_leave_out_the_turns_of_others(name, body, texts):
    found = finder(BY_NAME[name]).find(body)
    chosen = of_roles(BY_NAME[name], body, found, frozenset({"user"}))
    assert [text for _, text in chosen] == texts


def test_fields_are_looked_for_beside_those_of_another_protocol():
    places = finder(BY_NAME["openai"], [compile_path("$.title")])
    assert places.find({"title": "a", "messages": [{"content": "b"}]}) == [
        (("title",), "a"),
        (("messages", 0, "content"), "b"),
    ]


LENGTHS = [
    ("plain", {"message": "four"}, 4),
    ("openai", {"messages": [{"role": "user", "content": "x" * 9}, {"role": "user", "content": [TEXT, TEXT]}, {"role": "assistant", "content": "long enough"}]}, 2),
    ("openai", {"messages": [{"role": "system", "content": "x" * 9}]}, 9),
    ("anthropic", {"system": "x" * 9, "messages": [{"role": "user", "content": "abc"}]}, 3),
    ("openai-responses", {"input": "abcd", "instructions": "abcde"}, 5),
    ("openai-responses", {"input": [{"role": "user", "content": "ab"}], "instructions": "abcde"}, 2),
    ("langgraph", {"input": {"messages": [{"type": "human", "content": "ab"}, {"type": "ai", "content": "abc"}]}}, 2),
    ("langgraph", {"input": {"messages": [["user", "abc"]]}}, 3),
    ("langgraph", {"input": {"messages": [["user", "abc"]], "question": "abcd e"}}, 6),
    ("langgraph", {"command": {"update": {"messages": [{"role": "user", "content": "abc"}, {"role": "ai", "content": "abcd"}]}}}, 3),
    ("langgraph", [{"input": {"messages": [{"role": "user", "content": "abc"}]}}, {"input": {"messages": [{"role": "user", "content": "abcd"}]}}], 4),
    ("gradio", {"data": [None, [{"role": "assistant", "content": [{"text": "abcdef"}]}]]}, 0),
    ("gradio", {"data": [{"text": "abc"}, [{"role": "user", "content": [{"text": "abcdef"}]}]]}, 3),
    ("open-webui", {"user_message": {"content": "abc"}, "messages": [{"role": "user", "content": "ab"}]}, 3),
    ("open-webui-api", {"chat": {"history": {"messages": {"m": {"content": "abcdef"}}}}}, 0),
    ("plain", {"message": "👩‍💻"}, 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "length"), LENGTHS, ids=[f"{row[0]} {row[2]}" for row in LENGTHS])
def test_the_limit_counts_the_last_message_of_the_user(name, body, length):
    texts = finder(BY_NAME[name]).find(body)
    assert counted(BY_NAME[name], body, texts) == length
