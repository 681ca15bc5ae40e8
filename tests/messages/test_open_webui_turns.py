from __future__ import annotations

import json

from sidecar.decision import KEEP, Rewrite
from sidecar.messages.open_webui_turns import RefusedTurns, TurnBegins, TurnGoesOn
from tests.support.exchanges import exchange


def body(own: str, answer: str, parent: str | None) -> bytes:
    message = {"id": own, "parentId": parent, "content": "hi"}
    return json.dumps({"parent_id": parent, "user_message": message, "message_ids": [{"message_id": answer}]}).encode()


class Chat:
    """A page behind the guards: `say` returns the parent that the server receives, or None for a refused message."""

    def __init__(self) -> None:
        self.turns = RefusedTurns(6)
        self.begins, self.goes_on = TurnBegins(self.turns), TurnGoesOn(self.turns)

    def say(self, own: str, answer: str, parent: str | None, *, refused: bool = False) -> object:
        asked = exchange("POST", "/api/chat/completions", content_type="application/json")
        sent = body(own, answer, parent)
        found = self.begins.inspect(asked, sent)
        got = found.body if isinstance(found, Rewrite) else sent
        if not refused:
            assert self.goes_on.inspect(asked, got) is KEEP
        heard = json.loads(got)
        assert heard["parent_id"] == heard["user_message"]["parentId"]
        return heard["parent_id"]


def test_messages_that_follow_an_answer_pass_as_they_are():
    chat = Chat()
    assert chat.say("q1", "a1", None) is None
    assert chat.say("q2", "a2", "a1") == "a1"


def test_what_follows_a_refused_message_follows_what_came_before():
    chat = Chat()
    chat.say("q1", "a1", None)
    chat.say("q2", "a2", "a1", refused=True)
    assert chat.say("q3", "a3", "a2", refused=True) == "a1"
    assert chat.say("q4", "a4", "a3") == "a1"
    assert chat.say("q5", "a5", "a4") == "a4"


def test_what_follows_a_refused_first_message_begins_the_chat():
    chat = Chat()
    chat.say("q1", "a1", None, refused=True)
    assert chat.say("q2", "a2", "a1") is None


def test_a_message_that_is_sent_again_and_passes_is_no_longer_refused():
    chat = Chat()
    chat.say("q1", "a1", "a0", refused=True)
    chat.say("q1", "a1", "a0")
    assert chat.say("q2", "a2", "a1") == "a1"


def test_what_is_remembered_has_a_bound():
    chat = Chat()
    for number in range(20):
        chat.say(f"q{number}", f"a{number}", "a", refused=True)
    assert chat.say("q", "x", "a0") == "a0"
    assert chat.say("q", "x", "a19") == "a"


def test_a_circle_ends():
    turns = RefusedTurns(6)
    turns.remember("c", ["a"], "b")
    turns.remember("c", ["b"], "a")
    assert turns.parent("c", "a") is None


def test_other_bodies_pass():
    begins = TurnBegins(RefusedTurns())
    asked = exchange("POST", "/api/chat/completions", content_type="application/json")
    for sent in (b"{", b"[]", b"{}", b'{"user_message":"x"}', b'{"user_message":{"id":5},"message_ids":[5,{}]}'):
        assert begins.inspect(asked, sent) is KEEP
