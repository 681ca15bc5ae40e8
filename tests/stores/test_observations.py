"""What is kept of an unknown backend: bounded, and nothing of what was said."""

from __future__ import annotations

from sidecar.stores.observations import NAMES, REPEATS, Observations, Operation, Place

CHAT = Operation("POST", "/api/chat")
MESSAGE = Place("json", "$.message")


def test_lengths_repeats_and_spaces_are_kept_and_no_text() -> None:
    table = Observations()
    counts = table.operation(CHAT)
    said = ["a first message", "another one", "a first message"]
    table.note_texts(counts, [(MESSAGE, text, True, 0.2) for text in said])
    table.note_texts(counts, [(MESSAGE, "id-7", False, 0.0)])
    at = counts.places[MESSAGE]
    assert (at.seen, at.texts, at.different, at.shortest, at.longest) == (4, 3, 2, 4, 15)
    assert not any(text in repr(table.operations) for text in said)
    other = Observations()
    other.note_texts(other.operation(CHAT), [(MESSAGE, said[0], True, 0.2)])
    assert not other.operation(CHAT).places[MESSAGE].hashes & at.hashes  # each process has a key of its own


def test_all_tables_are_bounded() -> None:
    table = Observations(operations=3, places=4)
    for number in range(10):
        table.operation(Operation("POST", f"/{number}")).requests += 1
    assert len(table.operations) == 3
    counts = table.operation(Operation("POST", "/0"))
    table.note_texts(counts, [(Place("json", f"$.a{number}"), "x", False, 0.0) for number in range(10)])
    table.note_texts(counts, [(Place("json", "$.a0"), f"text {number}", True, 0.1) for number in range(100)])
    assert (len(counts.places), counts.places[Place("json", "$.a0")].different) == (4, REPEATS)
    assert table.overflowed
    for number in range(200):
        table.note_cookie(f"c{number}")
        table.note_origin(f"https://{number}.example")
    assert (len(table.cookies), len(table.origins)) == (NAMES, NAMES)
