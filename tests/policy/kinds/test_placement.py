from __future__ import annotations

import pytest

from sidecar.policy.kinds.catalogue import read_kind
from sidecar.policy.kinds.placement import at, placed
from sidecar.policy.routes import Pattern


def found(kind: str, path: str, *methods: str) -> list[tuple[str, str, list[str], bool]]:
    known = read_kind(kind)
    assert known is not None
    route = Pattern(path, frozenset(methods))
    return [
        (each.operation["name"], each.pattern.path, sorted(each.pattern.methods), each.whole)
        for each in placed(known, route)
    ]


@pytest.mark.parametrize(
    ("path", "methods", "expected"),
    [
        ("/desk/*", (), [("streamlit-stream", "/desk/**/_stcore/stream", ["GET"], False)]),
        ("/*", (), [("streamlit-stream", "/**/_stcore/stream", ["GET"], False)]),
        ("/a/_stcore/stream", (), [("streamlit-stream", "/a/_stcore/stream", ["GET"], True)]),
        ("/desk/*", ("GET", "PUT"), [("streamlit-stream", "/desk/**/_stcore/stream", ["GET"], False)]),
        ("/desk/*", ("PUT",), []),
        ("/desk", (), []),
    ],
    ids=["prefix", "everything", "its own path", "methods that meet", "other methods", "another path"],
)
def test_an_operation_within_a_route(path, methods, expected):
    assert found("streamlit", path, *methods) == expected


def test_paths_that_the_backend_has_without_a_prefix_stay():
    assert found("ollama", "/api/*")[0] == ("ollama-chat", "/api/chat", ["POST"], False)
    assert found("ollama", "/wiki/*")[0] == ("ollama-chat", "/wiki/**/api/chat", ["POST"], False)


def test_an_operation_at_several_places_of_a_route():
    assert found("litellm", "/v1/chat/*", "POST")[:2] == [
        ("litellm-chat", "/v1/chat/completions", ["POST"], False),
        ("litellm-chat", "/v1/chat/**/chat/completions", ["POST"], False),
    ]


def test_an_operation_as_a_route():
    kind = read_kind("gradio")
    assert kind is not None
    each = placed(kind, Pattern("/wiki/*"))[0]
    assert at(each.operation, each.pattern, "wiki-run") == {
        "name": "wiki-run",
        "match": {"path": "/wiki/**/gradio_api/run/*", "methods": ["POST"]},
        "protocol": "gradio",
    }
