"""A compressed response is opened and searched in bounded steps, with turns of others between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.proxy.response_relay import OPENED_TURN, TURN, ResponseRelay


class Endless:
    """A decoder that has more to give each time."""

    def push(self, data: bytes) -> None: ...

    def read(self, most: int) -> bytes:
        return bytes(most)


class Waiting:
    """Counts what was waited for instead of waiting."""

    def __init__(self) -> None:
        self.then: list[Any] = []

    def wait(self, awaitable: Any, then: Any) -> None:
        awaitable.close()
        self.then.append(then)


class Seen:
    """A filter that counts bytes by call."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def feed(self, data: bytes) -> bytes:
        self.sizes.append(len(data))
        return data


def relay(chosen: Seen | None, handler: Waiting, written: list[int]) -> ResponseRelay:
    front = SimpleNamespace(full=False, write=lambda data: written.append(len(data)))
    context: Any = SimpleNamespace(
        exchange=SimpleNamespace(pending=[]),
        connection=front,
        route=SimpleNamespace(target=SimpleNamespace(idle=1.0)),
        services=SimpleNamespace(activity=None),
    )
    back: Any = SimpleNamespace(hold=lambda: None, release=lambda: None)
    any_handler: Any = handler
    decoder: Any = Endless()
    return ResponseRelay(context, any_handler, back, chosen, decoder, "body", chunked=False, framed=True)


@pytest.mark.parametrize("turns", [1, 3])
def test_others_get_their_turn_after_two_pieces_that_were_searched(turns: int) -> None:
    seen, handler, written = Seen(), Waiting(), []
    relay(seen, handler, written).response_piece(b"coded")
    for _ in range(turns - 1):
        handler.then.pop()(None)
    assert seen.sizes == [TURN] * 2 * turns
    assert len(handler.then) == 1


def test_what_is_not_searched_is_opened_in_larger_turns() -> None:
    handler, written = Waiting(), []
    relay(None, handler, written).response_piece(b"coded")
    assert sum(written) == OPENED_TURN
    assert len(handler.then) == 1
