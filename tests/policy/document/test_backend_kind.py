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
    assert document.origin("routes[2].message.max_chars") == "P:3"


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
