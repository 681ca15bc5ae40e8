"""The YAML that is printed: it compiles as a policy, and says what it is unsure of."""

from __future__ import annotations

import pytest

from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.stores.csp_violations import Violation
from sidecar.stores.observations import Observations, Operation, Place
from sidecar.suggest.yaml_text import document
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
