from __future__ import annotations

import pytest

from sidecar.policy.document.read import draft_policy

HEAD = "version: 1\nbackend: {{ url: 'http://127.0.0.1:3001', kind: {} }}\n"


def read(kind, text=""):
    document = draft_policy(HEAD.format(kind) + text, {}, name="P")
    assert [str(problem) for problem in document.problems] == []
    return document


def names(document):
    return [route.name for route in document.schema.routes]


def route(document, name):
    return next(each for each in document.schema.routes if each.name == name)


def test_a_kind_brings_its_routes():
    document = read("gradio")
    assert names(document)[:2] == ["gradio-run", "gradio-join"]
    assert document.origin("routes[0].protocol") == "kind:gradio"
    assert document.origin("backend.kind") == "P:2"
    assert document.origin("backend.max_connections") == "default"


def test_what_the_operator_wrote_wins():
    document = read("gradio", "requests: { max_body: 2MiB, max_headers: 50 }\n")
    assert (document.schema.requests.max_body, document.schema.requests.max_headers) == (2 << 20, 50)
    assert document.origin("requests.max_body") == "P:3"
    assert document.origin("security_headers.directives.script-src") == "kind:gradio"


MESSAGE = "message: { max_chars: 200 }\n"


def test_the_policy_s_message_stands_under_that_of_each_route():
    routes = "routes:\n  - { name: gradio-join, message: { max_chars: 50 } }\n  - { name: x, match: { path: /x }, message: null }\n"
    document = read("gradio", MESSAGE + routes)
    assert route(document, "gradio-run").message.max_chars == 200
    assert route(document, "gradio-join").message.max_chars == 50
    assert route(document, "x").message is None
    at = names(document).index("gradio-run")
    assert document.origin(f"routes[{at}].message.max_chars") == "P:3"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", "keep"),
        (MESSAGE, "keep"),
        ("message: { markup: strip }\n", "strip"),
        ("routes: [{ name: chainlit-socket, message: { markup: reject } }]\n", "reject"),
        ("message: { markup: strip }\nroutes: [{ name: x, match: { path: /a/ws/socket.io } }]\n", "strip"),
    ],
    ids=["the kind's", "another key of the policy's", "the policy's", "the route's", "the policy's, in a route"],
)
def test_what_a_kind_says_of_markup_gives_way_to_the_operator(text, kept):
    assert read("chainlit", text).schema.routes[0].message.markup == kept


def test_a_route_of_a_kind_s_name_is_filled_up():
    document = read("gradio", "routes: [{ name: gradio-run, session: none, match: { path: /app/gradio_api/run/* } }]\n")
    first = document.schema.routes[0]
    assert (first.match.path, first.match.methods, first.session) == ("/app/gradio_api/run/*", ("POST",), "none")
    assert (first.protocol, first.message is not None) == ("gradio", True)
    assert names(document).count("gradio-run") == 1


def test_a_route_of_the_same_path_is_filled_up():
    document = read(
        "open-webui", "routes: [{ name: chat, match: { path: /api/chat/completions }, message: { max_chars: 9 } }]\n"
    )
    first = document.schema.routes[0]
    assert (first.protocol, first.message.max_chars, first.match.methods) == ("open-webui", 9, ())
    assert "open-webui-chat" not in names(document)


def test_a_narrower_route_is_filled_up_and_the_rest_stays():
    document = read("openai", "routes: [{ name: chat, match: { path: /v1/chat/completions, methods: [POST] } }]\n")
    assert names(document)[:2] == ["chat", "openai-chat"]
    assert document.schema.routes[0].protocol == "openai"


def test_a_wider_route_stands_behind_those_of_the_kind_and_lends_its_keys():
    text = "sessions: { mode: issue }\nroutes: [{ name: all, match: { path: /* }, session: required, rate_limits: [{ name: n, per: ip, limit: 9, window: 1m }] }]\n"
    document = read("gradio", text)
    assert names(document)[-1] == "all"
    assert route(document, "gradio-run").session == "required"
    assert [limit.name for limit in route(document, "gradio-run").rate_limits] == ["n"]
    assert document.origin("routes[0].session") == "P:4"
    assert document.origin("routes[0].match.path") == "kind:gradio"


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("{ path: /v1/* }", ["/v1/**/chat/completions"]),
        ("{ path: /v1/*, methods: [GET, POST] }", ["/v1/**/chat/completions"]),
        ("{ path: /v1/chat/* }", ["/v1/chat/completions", "/v1/chat/**/chat/completions"]),
        ("{ path: /*/chat/* }", ["/*/chat/completions", "/*/chat/**/chat/completions"]),
        ("{ path: /v1/*, methods: [GET] }", []),
        ("{ path: /v1/models }", []),
    ],
    ids=["a prefix", "methods", "a prefix within the operation", "stars", "other methods", "another path"],
)
def test_a_route_that_would_take_a_part_of_an_operation_stands_behind_that_part(written, parts):
    document = read("openai", f"routes: [{{ name: all, match: {written}, session: none }}]\n")
    routes = document.schema.routes
    before = routes[: names(document).index("all")]
    found = [each for each in before if each.protocol == "openai"]
    assert [each.match.path for each in found] == parts
    assert [(each.session, each.match.methods, each.message is not None) for each in found] == [
        ("none", ("POST",), True)
    ] * len(parts)
    assert [each.name for each in found] == ["all-chat", "all-chat-2"][: len(parts)]
    assert names(document).count("openai-chat") == 1


def test_parts_that_earlier_routes_take_are_made_once():
    routes = "[{ name: a, match: { path: /v1/*, methods: [POST] } }, { name: b, match: { path: /v1/* } }]"
    document = read("openai", f"routes: {routes}\n")
    assert [each.match.path for each in document.schema.routes].count("/v1/**/chat/completions") == 1
    assert names(document).index("a-chat") < names(document).index("a") < names(document).index("b")


def test_made_names_are_free():
    long = "a" * 63
    routes = f"[{{ name: all-chat, match: {{ path: /x }} }}, {{ name: all, match: {{ path: /v1/* }} }}, {{ name: {long}, match: {{ path: /v2/* }} }}]"
    document = read("openai", f"routes: {routes}\n")
    assert len(set(names(document))) == len(names(document))
    assert max(map(len, names(document))) == 63
    assert "all-chat-2" in names(document)


def test_a_route_that_is_for_one_operation_has_no_others_below():
    document = read("gradio", "routes: [{ name: gradio-run, match: { path: /app/gradio_api/run/* } }]\n")
    assert names(document)[:2] == ["gradio-run", "gradio-join"]


def test_looking_away_takes_a_word():
    document = read("gradio", "routes: [{ name: run, match: { path: '/gradio_api/run/*' }, message: null }]\n")
    assert route(document, "run").message is None


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ("{}", True),
        ("{ preset: embeddable }", True),
        ("{ preset: strict }", False),
        ("{ preset: none }", False),
        ("{ Content-Security-Policy: \"default-src 'self'\" }", False),
        ("{ directives: { img-src: '*' } }", True),
    ],
)
def test_the_csp_of_a_kind_gives_way_to_a_decision_of_the_operator(headers, kept):
    directives = read("gradio", f"security_headers: {headers}\n").schema.security_headers.directives
    assert ("script-src" in directives) is kept


def test_problems_of_merged_routes_have_the_operator_s_lines():
    document = draft_policy(
        HEAD.format("gradio") + "routes:\n  - name: all\n    match: { path: /* }\n    sesion: none\n", {}, name="P"
    )
    assert [str(problem) for problem in document.problems]
    assert {problem.line for problem in document.problems} == {6}


def test_an_unknown_kind_is_a_problem_at_its_line():
    document = draft_policy(HEAD.format("wordpress"), {}, name="P")
    assert [(problem.path, problem.line) for problem in document.problems] == [("backend.kind", 2)]


def test_bodies_with_text_are_smaller_than_uploads():
    document = read("gradio")
    assert (document.schema.requests.max_body, document.schema.routes[0].max_body) == (10 << 20, 4 << 20)
    assert read("gradio", "requests: { max_body: 2MiB }\n").schema.routes[0].max_body is None
    assert read("openai").schema.routes[0].max_body is None


# --- kinds of further backends ----------------------------------------------------------------------

DESK = "backends: { desk: { url: 'http://127.0.0.1:8000', kind: chainlit } }\n"


def test_the_kind_of_a_further_backend_is_put_into_the_routes_that_name_it():
    routes = "routes: [{ name: desk, match: { path: /desk/* }, backend: desk, session: none }]\n"
    document = read("gradio", DESK + MESSAGE + routes)
    socket = route(document, "desk-socket")
    assert (socket.match.path, socket.match.methods) == ("/desk/**/ws/socket.io", ("GET", "POST"))
    assert (socket.protocol, socket.backend, socket.session) == ("chainlit", "desk", "none")
    assert (socket.message.max_chars, socket.max_body) == (200, 4 << 20)
    assert "fonts.gstatic.com" in socket.security_headers.directives["font-src"]
    assert names(document)[5:] == ["desk", *names(read("gradio"))]
    desk = route(document, "desk")
    assert (desk.message, desk.max_body, "fonts.gstatic.com" in desk.security_headers.directives["font-src"]) == (
        None,
        100 << 20,
        True,
    )
    assert route(document, "gradio-run").security_headers is None
    assert document.origin("routes[0].protocol") == "kind:chainlit"
    assert document.schema.cors.allowed_methods == ("GET", "POST", "PUT", "DELETE")


def test_a_backend_that_no_route_names_changes_nothing():
    assert names(read("gradio", DESK)) == names(read("gradio"))


def test_two_backends_of_one_kind():
    text = "backends: { a: { url: 'http://127.0.0.1:1', kind: streamlit }, b: { url: 'http://127.0.0.1:2', kind: streamlit } }\n"
    routes = (
        "routes: [{ name: a, match: { path: /a/* }, backend: a }, { name: b, match: { path: /b/* }, backend: b }]\n"
    )
    document = read("streamlit", text + routes)
    found = [(each.name, each.match.path, each.backend) for each in document.schema.routes if each.message]
    assert found == [
        ("a-stream", "/a/**/_stcore/stream", "a"),
        ("b-stream", "/b/**/_stcore/stream", "b"),
        ("streamlit-stream", "/**/_stcore/stream", None),
    ]
    assert document.schema.websocket.max_message == 4 << 20


def test_what_the_operator_wrote_of_a_further_backend_s_routes_wins():
    routes = (
        "routes:\n"
        "  - { name: desk-socket, backend: desk, match: { path: /desk/ws/socket.io }, message: { max_chars: 7 } }\n"
        "  - { name: desk, match: { path: /desk/* }, backend: desk, max_body: 1MiB, security_headers: { preset: strict } }\n"
    )
    document = read("gradio", DESK + routes)
    socket = route(document, "desk-socket")
    assert (socket.protocol, socket.message.max_chars, socket.match.path) == ("chainlit", 7, "/desk/ws/socket.io")
    desk = route(document, "desk")
    assert (desk.max_body, desk.security_headers.preset, desk.security_headers.directives) == (1 << 20, "strict", {})


def test_a_backend_for_everything_takes_the_place_of_the_main_kind():
    document = read("gradio", DESK + "routes: [{ name: all, match: { path: /* }, backend: desk }]\n")
    assert [each.backend for each in document.schema.routes] == ["desk"] * len(document.schema.routes)
    assert not any(name.startswith("gradio") for name in names(document))


def test_looking_away_from_a_further_backend_is_remarked():
    routes = "routes: [{ name: desk, match: { path: /desk/ws/socket.io }, backend: desk, message: null }]\n"
    document = read("gradio", DESK + routes)
    said = [str(note) for note in document.notes if "pass unread" in str(note)]
    what = "routes[0].message: lets chainlit-socket of chainlit pass unread (/desk/ws/socket.io), which holds text"
    assert said == [f"{what}; leave message out, or write message: {{}}"]


@pytest.mark.parametrize(
    "text",
    [
        "backends: { a: { url: 'http://127.0.0.1:1', kind: [] } }\nroutes: [{ name: a, match: { path: /a }, backend: [] }]\n",
        "backends: []\nroutes: [1, { name: {}, backend: a, match: 1 }]\n",
        "backends: { a: { url: 'http://127.0.0.1:1', kind: shiny } }\nroutes: [{ name: [], match: { path: /a/* }, backend: a }]\n",
    ],
    ids=["lists", "no section", "no name"],
)
def test_what_is_malformed_is_a_problem_and_no_crash(text):
    assert draft_policy(HEAD.format("gradio") + text, {}, name="P").problems
