"""Let Open WebUI go on after a refused message.

Its page names, with each message, the answer before it. After a refusal that is an answer which the server
never saw, and the server would answer 409 for ever. So refused messages are remembered for a while, and one
that follows them is told to follow what came before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, TypeAlias, TypeGuard

from sidecar.decision import KEEP, Inspection, Rewrite
from sidecar.exchange import Exchange
from sidecar.json_path import Location
from sidecar.messages.splice import NULL, Null, splice
from sidecar.messages.strict_json import Fault, parse_once

MAX_ID: Final = 64
MAX_ANSWERS: Final = 16
MOST: Final = 10_000
"""Ids that are remembered: 2 MiB."""

PARENTS: Final = (("user_message", "parentId"), ("parent_id",))
"""Where a message names the one before it."""

Key: TypeAlias = tuple[str, str]
"""Whose message, and its id."""


class RefusedTurns:
    """Ids of refused messages, with the id that each of them follows."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._before: OrderedDict[Key, str | None] = OrderedDict()

    def remember(self, client: str, ids: list[str], parent: str | None) -> None:
        """Note the ids as refused, as successors of `parent`; drop the oldest beyond the bound."""
        for each in ids:
            self._before[client, each] = parent
            self._before.move_to_end((client, each))
        while len(self._before) > self._most:
            self._before.popitem(last=False)

    def forget(self, client: str, ids: list[str]) -> None:
        """Note the ids as sent."""
        for each in ids:
            self._before.pop((client, each), None)

    def parent(self, client: str, parent: str) -> str | None:
        """Return the nearest id, this one included, of a message that was sent to the backend."""
        found: str | None = parent
        for _ in range(self._most):
            if found is None or (client, found) not in self._before:
                return found
            found = self._before[client, found]
        return None


class TurnBegins:
    """Corrects a message's parent, and counts the message as refused until `TurnGoesOn` is asked. Asked first."""

    name = "message"

    def __init__(self, turns: RefusedTurns) -> None:
        self._turns = turns

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Replace parents that the backend never received; return Rewrite if any was, Keep otherwise."""
        value = parse_once(exchange, body)
        if type(value) is Fault or not isinstance(value, dict) or not isinstance(value.get("user_message"), dict):
            return KEEP
        client = exchange.client.subject
        changes: dict[Location, str | Null] = {}
        before = None
        for place in PARENTS:
            parent = value["user_message"].get(place[1]) if len(place) == 2 else value.get(place[0])
            if not is_id(parent):
                continue
            found = self._turns.parent(client, parent)
            if found != parent:
                changes[place] = NULL if found is None else found
            if place is PARENTS[0]:
                before = found
        self._turns.remember(client, ids_of(value), before)
        return Rewrite(splice(body, changes)) if changes else KEEP


class TurnGoesOn:
    """Forgets a message that no guard refused. Asked last."""

    name = "message"

    def __init__(self, turns: RefusedTurns) -> None:
        self._turns = turns

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Note that the message was sent; always keep the body."""
        value = parse_once(exchange, body)
        if isinstance(value, dict):
            self._turns.forget(exchange.client.subject, ids_of(value))
        return KEEP


def ids_of(value: dict[str, Any]) -> list[str]:
    """Return the ids of a message and of the answers that it asks for."""
    message, answers = value.get("user_message"), value.get("message_ids")
    found = [message.get("id")] if isinstance(message, dict) else []
    if isinstance(answers, list):
        found += [each.get("message_id") for each in answers[:MAX_ANSWERS] if isinstance(each, dict)]
    return [each for each in found if is_id(each)]


def is_id(value: Any) -> TypeGuard[str]:
    """Return whether `value` is a non-empty string of at most MAX_ID characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID
