"""Places of connections that are read on after their end."""

from __future__ import annotations

from sidecar.proxy.lingering import Lingering


def test_places_are_bounded_per_client_and_in_all_and_are_given_back() -> None:
    places = Lingering(most=3, per_client=2)
    assert [places.begin("a"), places.begin("a"), places.begin("a")] == [True, True, False]
    assert [places.begin("b"), places.begin("b")] == [True, False]
    places.end("a")
    assert [places.begin("b"), places.begin("c")] == [True, False]
    places.end("a")
    places.end("b")
    places.end("b")
    assert places._clients == {}
