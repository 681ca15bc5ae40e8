"""The YAML that is printed: it compiles as a policy, and says what it is unsure of."""

from __future__ import annotations

import pytest

from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.stores.csp_violations import Violation
from sidecar.stores.observations import Observations, Operation, Place
from sidecar.suggest.yaml_text import KnownKind, document
from tests.support.policies import BASE, read

TEXTS = ("a first message", "a second message", "and a third")


def table() -> Observations:
    made = Observations()
    rows = {
        Operation("POST", "/api/chat"): (Place("json", "$.message"), Place("json", "$['odd name'].text")),
        Operation("SOCKET", "/ws/socket.io"): (Place("packet", "$[1].args[0]", "say"),),
        Operation("PUT", "/stream/*"): (Place("protobuf", "4.2.1"),),
        Operation("POST", "/form"): (Place("field", "$.question"),),
        Operation("POST", "/once"): (Place("json", "$.a"),),
    }
    for operation, places in rows.items():
        counts = made.operation(operation)
        counts.requests, counts.kinds = 3, {"JSON"}
        for place in places:
            texts = TEXTS[:1] if operation.path == "/once" else TEXTS
            made.note_texts(counts, [(place, text, True, 0.2) for text in texts])
    made.operation(Operation("POST", "/api/chat")).streams.add("server-sent events")
    made.operation(Operation("POST", "/upload")).largest = 3_000_000
    made.operation(Operation("POST", "/form")).largest = 3_000_000
    made.note_cookie("_xsrf")
    made.note_origin("https://pages.example")
    return made


def test_the_yaml_compiles_and_names_every_place() -> None:
    found = document(table(), violations=[(Violation("img-src", "cdn.example"), 4)], proxies=["10.0.0.1"])
    text = found["yaml"]
    policy = read(BASE + text)
    compile_policy(policy, isolated_services())
    routes = {route.match.path: route for route in policy.schema.routes}
    assert set(routes) == {"/api/chat", "/ws/socket.io", "/form"}
    message = routes["/api/chat"].message
    assert message is not None
    assert message.fields == ("$.message", "$['odd name'].text")
    assert (routes["/ws/socket.io"].protocol, routes["/ws/socket.io"].match.methods) == ("auto", ("GET",))
    assert routes["/form"].max_body == 3 << 20
    assert policy.schema.cookies.readable == ("_xsrf",)
    assert policy.schema.clients.trusted_proxies == ("10.0.0.1/32",)


@pytest.mark.parametrize(
    "line",
    [
        "  # 3 requests, JSON; the answers stream (server-sent events)",
        "  # text at $.message: 11 to 16 characters, 20 % spaces, 3 different, 0 repeated",
        "  # text at $[1].args[0] of the event say: 11 to 16 characters, 20 % spaces, 3 different, 0 repeated",
        "  # no route can name protobuf field 4.2.1: see `sidecar kinds` for a kind that reads it",
        "  # unsure: $.a: one text was seen: chat some more (15 characters, 20 % spaces, 1 different, 0 repeated)",
        "# CSP: img-src would block cdn.example (4 times)",
        "#   POST /upload",
    ],
)
def test_what_the_comments_say(line) -> None:
    found = document(table(), violations=[(Violation("img-src", "cdn.example"), 4)])
    assert line in found["yaml"].splitlines()


def test_names_that_clients_chose_stay_in_their_line() -> None:
    made = Observations()
    counts = made.operation(Operation("POST", "/a"))
    place = Place("json", "$['x]}, - name: evil']", "e\nvil: [")
    made.note_texts(counts, [(place, text, True, 0.1) for text in TEXTS])
    policy = read(BASE + document(made)["yaml"])
    assert [route.name for route in policy.schema.routes] == ["route-1"]


def test_nothing_was_observed() -> None:
    text = document(Observations())["yaml"]
    assert "No text was seen" in text
    assert read(BASE + text).schema.routes == ()


CHAT = Operation("POST", "/v1/chat/completions")


def asked(requests: int = 3) -> Observations:
    made = Observations()
    counts = made.operation(CHAT)
    counts.requests = requests
    made.note_texts(counts, [(Place("json", "$.messages[*].content"), text, True, 0.2) for text in TEXTS])
    return made


def test_with_its_backend_it_is_a_whole_policy() -> None:
    policy = read(document(asked(), backend="http://127.0.0.1:3001")["yaml"])
    assert (policy.schema.backend.url, policy.schema.backend.kind) == ("http://127.0.0.1:3001", "generic")
    assert [route.match.path for route in policy.schema.routes] == [CHAT.path]


def test_a_kind_that_is_known_reads_its_operations() -> None:
    known = KnownKind("openai", frozenset({CHAT}), strict=True)
    found = document(asked(), backend="http://127.0.0.1:3001", kind=known)
    policy = read(found["yaml"])
    compile_policy(policy, isolated_services())
    route = policy.schema.routes[0]
    assert (found["kind"], policy.schema.backend.kind, route.protocol) == ("openai", "openai", "openai")
    assert route.message is not None
    assert not route.message.fields
    assert policy.schema.security_headers.preset == "app"
    assert "  # text at $.messages[*].content: 11 to 16 characters" in found["yaml"]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (KnownKind("openai", frozenset({CHAT})), "# kind openai reads 1 of the 1 operations with text, and its others."),
        (KnownKind("openai", frozenset({CHAT})), "# write backend: { kind: openai }"),
        (KnownKind(maybe=("ollama", "vercel-ai")), "# unsure: this looks like ollama or vercel-ai: `sidecar kinds NAME` says what that would make"),
    ],
)  # fmt: skip
def test_what_is_said_of_kinds(kind: KnownKind, line: str) -> None:
    assert line in document(asked(), kind=kind)["yaml"].splitlines()


def test_requests_without_text_pass_where_some_were_seen() -> None:
    text = document(asked(5))["yaml"]
    assert (
        "  # unsure: 2 of them had no text there; others like them pass unread, and are recorded" in text.splitlines()
    )
    assert _mode(text) == "pass"
    assert _mode(document(asked())["yaml"]) == "refuse"


def _mode(text: str) -> str:
    message = read(BASE + text).schema.routes[0].message
    assert message is not None
    return message.on_uninspectable
