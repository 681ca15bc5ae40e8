from __future__ import annotations

import pytest

from sidecar.decision import PASS, Finding, Pass
from sidecar.policy.document.read import draft_policy
from sidecar.policy.kinds.coverage import UncoveredOperationGuard, uncovered
from sidecar.vocabulary import Event
from tests.support.exchanges import exchange

HEAD = "version: 1\nbackend: {{ url: 'http://127.0.0.1:3001', kind: {} }}\n"
CHAT = "routes: [{ name: chat, match: { path: /v1/chat/completions, methods: [POST] }, protocol: openai }]\n"


def operations(kind, text=""):
    document = draft_policy(HEAD.format(kind) + text, {}, name="P")
    return [(each.operation, each.route) for each in uncovered(document.schema)], [str(note) for note in document.notes]


@pytest.mark.parametrize("kind", ["generic", "openai", "gradio", "streamlit"])
def test_a_kind_covers_its_operations(kind):
    assert operations(kind) == ([], [])


def test_looking_away_is_told():
    found, notes = operations(
        "gradio", "routes: [{ name: run, match: { path: '/gradio_api/run/*' }, message: null }]\n"
    )
    assert found == [("gradio-run", 0)]
    what = "routes[0].message: lets gradio-run of gradio pass unread (/gradio_api/run/*), which holds text"
    assert notes == [f"{what}; leave message out, or write message: {{}}"]


def test_looking_away_from_a_part_is_told():
    found, notes = operations("openai", "routes: [{ name: v1, match: { path: '/v1/*' }, message: null }]\n")
    assert ("openai-chat", 0) in found
    assert any("lets openai-chat of openai pass unread (/v1/**/chat/completions)" in note for note in notes)


def test_the_other_paths_of_a_protocol_are_told():
    found, notes = operations("generic", CHAT)
    assert ("openai-chat", -1) in found
    assert any("backend.kind: speaks openai's API" in note and "/**/chat/completions" in note for note in notes)
    assert operations("openai", CHAT) == ([], [])


def test_roles_are_told():
    _, notes = operations("openai", "message: { roles: [user] }\n")
    assert notes == [
        "message.roles: leaves markup in the turns of other roles, which any client may claim; leave it out unless all clients are servers"
    ]


def test_use_is_recorded():
    document = draft_policy(HEAD.format("generic") + CHAT, {}, name="P")
    guard = UncoveredOperationGuard(uncovered(document.schema))
    assert guard.check(exchange("GET", "/")) is PASS
    assert guard.check(exchange("GET", "/chat/completions")) is PASS
    detail = {"reason": "no_route_looks", "operation": "openai-chat"}
    assert guard.check(exchange("POST", "/chat/completions")) == Pass((Finding(Event.MESSAGE_UNREADABLE, detail),))
