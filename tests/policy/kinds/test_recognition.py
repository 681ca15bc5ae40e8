from __future__ import annotations

import pytest

from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.policy.kinds.recognition import looks_at, recognise
from sidecar.stores.observations import Observations, Operation, Place
from sidecar.suggest.routes import suggestions

TEXTS = ("a first message", "a second message", "and a third")
Seen = tuple[str, str, Place]


def observed(*rows: Seen):
    table = Observations()
    for method, path, place in rows:
        counts = table.operation(Operation(method, path))
        counts.requests = len(TEXTS)
        table.note_texts(counts, [(place, text, True, 0.2) for text in TEXTS])
    return recognise(suggestions(table))


def at(path: str, form: str = "json") -> Place:
    return Place(form, path)


KINDS: list[tuple[str, Seen]] = [
    ("gradio", ("POST", "/gradio_api/run/predict", at("$.data[*].text"))),
    ("streamlit", ("SOCKET", "/_stcore/stream", at("11.2.1.15.1", "protobuf"))),
    ("chainlit", ("SOCKET", "/ws/socket.io/", at("$[1].message.output", "packet"))),
    ("panel", ("SOCKET", "/app/ws", at("$.events[*].new"))),
    ("nicegui", ("SOCKET", "/_nicegui_ws/socket.io/", at("$[1].args[0]", "packet"))),
    ("shiny", ("SOCKET", "/websocket/", at("$.data['chat_user_input:shinychat.userInput'].text"))),
    ("open-webui", ("POST", "/api/chat/completions", at("$.user_message.content"))),
    ("langgraph", ("POST", "/threads/*/runs/stream", at("$.input.messages[*].content"))),
    ("openai", ("POST", "/v1/chat/completions", at("$.messages[*].content"))),
    ("anthropic", ("POST", "/v1/messages", at("$.messages[*].content"))),
    ("chatkit", ("POST", "/chatkit", at("$.params.input.content[*].text"))),
    ("mcp", ("POST", "/mcp", at("$.params.arguments.text"))),
    ("vercel-ai", ("POST", "/api/chat", at("$.messages[*].parts[*].text"))),
]


@pytest.mark.parametrize(("kind", "row"), KINDS, ids=[kind for kind, _ in KINDS])
def test_a_kind_is_told_by_its_paths_and_places(kind, row):
    found = observed(row)
    assert (found.name, found.reads) == (kind, {Operation(*row[:2])})


UNKNOWN: list[tuple[str, Seen, tuple[str, ...]]] = [
    ("an own path", ("POST", "/ask", at("$.q")), ()),
    ("an own place at a known path", ("POST", "/v1/chat/completions", at("$.question")), ()),
    ("an own place at a common path", ("POST", "/api/chat", at("$.message")), ()),
    ("a common path", ("POST", "/api/chat", at("$.messages[*].content")), ("ollama", "vercel-ai")),
    ("another method", ("PUT", "/v1/chat/completions", at("$.messages[*].content")), ()),
    ("a form", ("POST", "/v1/chat/completions", at("$.messages", "field")), ()),
    ("a socket of one's own", ("SOCKET", "/websocket", at("$.data.text")), ("shiny",)),
]


@pytest.mark.parametrize(("row", "maybe"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_what_other_backends_have_too_tells_no_kind(row, maybe):
    found = observed(row)
    assert (found.name, found.maybe) == ("", maybe)


def test_the_kind_that_reads_most_is_told():
    chat = ("POST", "/openai/deployments/*/chat/completions", at("$.messages[*].content"))
    found = observed(chat, ("POST", "/v1/rerank", at("$.query")))
    assert (found.name, len(found.reads)) == ("litellm", 2)


def test_headers_of_an_api_are_told():
    assert observed(KINDS[8][1]).strict
    assert not observed(KINDS[0][1]).strict


def test_nothing_tells_nothing():
    assert (observed().name, observed().maybe) == ("", ())


@pytest.mark.parametrize(
    ("protocol", "path", "expected"),
    [
        ("openai", "$.messages[*].content[*].text", True),
        ("openai", "$.messages[*].name", False),
        ("openai", "$.messages", False),
        ("bokeh", "$.events[*].new.x", True),
        ("bokeh", "$.events", False),
        ("nicegui", "$[1].args[0] | $.text", True),
        ("openai", "$['x", False),
    ],
)
def test_where_a_protocol_looks(protocol, path, expected):
    assert looks_at(BY_NAME[protocol], Place("json", path)) is expected
