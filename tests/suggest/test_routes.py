"""How sure a place is: several different texts make it so, constants and machine names do not."""

from __future__ import annotations

import pytest

from sidecar.stores.observations import Observations, Operation, Place
from sidecar.suggest.routes import suggestions, without_text

CHAT = Operation("POST", "/chat")


def seen(path: str, texts: list[str], others: int = 0, form: str = "json") -> Observations:
    table = Observations()
    counts = table.operation(CHAT)
    counts.requests = len(texts)
    table.note_texts(counts, [(Place(form, path), text, True, 0.2) for text in texts])
    table.note_texts(counts, [(Place(form, path), "id", False, 0.0) for _ in range(others)])
    return table


@pytest.mark.parametrize(
    ("path", "texts", "others", "sure"),
    [
        pytest.param("$.a", ["one text", "another text"], 0, True, id="different texts"),
        pytest.param("$.a", ["the same"] * 5, 0, False, id="a constant"),
        pytest.param("$.a", ["one text"], 0, False, id="one text under a name that says nothing"),
        pytest.param("$.message", ["one text"], 0, True, id="one text under a name that says it"),
        pytest.param("$.user_agent", ["one text", "another text"], 0, False, id="a machine's name"),
        pytest.param("$.a", ["one text", "another text"], 50, False, id="mostly something else"),
        pytest.param("$.messages[*].content", ["one text", "another text"], 50, True, id="a history of short answers"),
    ],
)
def test_how_sure(path, texts, others, sure) -> None:
    (found,) = suggestions(seen(path, texts, others))
    assert [each.sure for each in found.places] == [sure]
    assert found.places[0].why


def test_what_holds_no_text() -> None:
    table = Observations()
    for method, path in (("POST", "/a"), ("GET", "/b"), ("SOCKET", "/c")):
        table.operation(Operation(method, path)).requests = 1
    assert suggestions(table) == []
    assert without_text(table) == [Operation("POST", "/a"), Operation("SOCKET", "/c")]
