"""A name that some backend reads as a guarded one is told from names that none does."""

from __future__ import annotations

import time

import pytest

from sidecar.json_path import compile_path
from sidecar.messages.field_names import FormNames, KeyTree, reads_as

READ_AS_MESSAGE = (
    "Message", "MESSAGE", "me\u017f\u017fage", " message", "message ", "message\t", "message\n", "message\u00a0", "message\0",
    "message\0x", "\0message", "mes\u200bsage", "\ufeffmessage", "message\u00ad", "\uff4dessage", "_message", "message_",
)  # fmt: skip
PADDED = ("message" + "\u00a0" * 5000, "\u200b" * 5000 + "Message", "message" + " " * 5000)
OTHERS = ("messages", "msg", "id", "messageId", "message_id", "", "\0", "  ", "mess age d")


@pytest.mark.parametrize("key", READ_AS_MESSAGE, ids=ascii)
@pytest.mark.parametrize(
    ("path", "around"),
    [
        ("$.message", lambda pairs: pairs),
        ("$.a.message", lambda pairs: {"a": pairs}),
        ("$.a[*].message", lambda pairs: {"a": [{"x": 1}, pairs]}),
        ("$.a[1].message.b", lambda pairs: {"a": [0, pairs]}),
        ("$..*", lambda pairs: pairs),
    ],
    ids=["root", "object", "every", "index", "everything"],
)
def test_a_key_that_reads_as_the_guarded_one(key, path, around):
    tree = KeyTree([compile_path(path)])
    assert not tree.ambiguous(around({"message": "x", "other": 1}))
    # Where every text below is guarded, a second spelling is one text more.
    assert tree.ambiguous(around({"message": "x", key: "y"})) == (path != "$..*")
    assert tree.ambiguous(around({key: "y"})) == (path != "$..*")


@pytest.mark.parametrize("key", PADDED, ids=["no-break spaces", "zero-width spaces", "spaces"])
def test_padding_of_any_length(key):
    assert KeyTree([compile_path("$.message")]).ambiguous({"message": "x", key: "y"})
    assert FormNames(["message"]).ambiguous(key)


def test_names_that_expand_cost_little():
    """66,000 of the character that NFKC makes eighteen of, in one name: 0.4 s of CPU without a bound, 0.04 with."""
    began = time.process_time()
    assert not FormNames(["message"]).ambiguous("\ufdfa" * 66_000)
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("key", OTHERS, ids=ascii)
def test_another_key(key):
    assert not KeyTree([compile_path("$.message")]).ambiguous({"message": "x", key: "y"})


def test_two_paths_may_differ_by_what_others_ignore():
    tree = KeyTree([compile_path("$.user_message"), compile_path("$.userMessage")])
    assert not tree.ambiguous({"user_message": "x", "userMessage": "y"})
    assert tree.ambiguous({"user_message": "x", "UserMessage": "y"})
    one = KeyTree([compile_path("$.user_message")])
    assert one.ambiguous({"user_message": "x", "userMessage": "y"})  # Pydantic's aliases


def test_a_key_elsewhere_is_another_one():
    tree = KeyTree([compile_path("$.message"), compile_path("$.a.text")])
    assert not tree.ambiguous({"message": "x", "meta": {"Message": "y"}, "a": {"Message": 1}, "Text": 1})


FORM_NAMES = (
    *READ_AS_MESSAGE, "message[]", "message[0]", "message.x", "message[", "[message]", "message]", ".message", "chat.Message",
    "chat[message]", "%6dessage", "m%65ssage", "message%00", "message%5b%5d", "[0].message", "a[b][MESSAGE]",
)  # fmt: skip


@pytest.mark.parametrize("name", FORM_NAMES, ids=ascii)
def test_a_form_field_that_reads_as_the_guarded_one(name):
    names = FormNames(["message"])
    assert names.ambiguous(name)
    assert not names.ambiguous("message")


@pytest.mark.parametrize("name", ["user.message", "user message", "user[message", "User_Message", "user_message[]"])
def test_php_joins_with_underscores(name):
    assert FormNames(["user_message"]).ambiguous(name)


@pytest.mark.parametrize("name", [*OTHERS, "message-1", "messages[]", "data[text]", "%"], ids=ascii)
def test_another_form_field(name):
    assert not FormNames(["message"]).ambiguous(name)


def test_an_id_may_stand_below_another_name():
    names = FormNames(["id"], prefixed=False)
    assert [name for name in ("user[id]", "user.id", "id[]", "ID", "[id]") if names.ambiguous(name)] == [
        "id[]",
        "ID",
        "[id]",
    ]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"/chat", False),
        (b"/chat?x=message", False),
        (b"/chat?message=x", True),
        (b"/chat?a=1;message=x", True),
        (b"/chat?a&%4dessage[]=x", True),
    ],
)
def test_a_query_that_names_one(target, found):
    assert FormNames(["message"]).in_query(target) == found


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ("sessionId", False), ("SessionID", True), ("sessionId ", True), ("sessionId\0", True), ("sessionId\0x", True),
        ("session\u200bId", True), ("session_id", False), ("sessionIds", False),
    ],
    ids=ascii,
)  # fmt: skip
def test_another_spelling_of_an_ids_name(key, same):
    assert reads_as(key, "sessionId") == same
