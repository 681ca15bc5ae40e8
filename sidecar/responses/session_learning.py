"""Learns sessions that a backend makes, and conversations that it names, from its responses.

An id is stored before the client sees the bytes that name it: what a filter finds goes into
`exchange.pending`, and the proxy finishes that first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final

from sidecar.errors import StoreUnavailable
from sidecar.events import EventSink, about
from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.guards.sessions.conversation_ids import begins
from sidecar.guards.sessions.ownership import Ownership
from sidecar.guards.sessions.session import Binding, has_body
from sidecar.guards.sessions.session_endpoint import learn, logged_out
from sidecar.guards.sessions.session_id import Shape
from sidecar.json_path import Path, compile_path
from sidecar.responses.id_extraction import Found, IdExtractor, IdRule, JsonReader, LinesReader
from sidecar.responses.interfaces import BackendResponseHead
from sidecar.services import Ended
from sidecar.stores.interfaces import SessionStore
from sidecar.vocabulary import Outcome

MADE: Final = (compile_path("$.id"), compile_path("$.conversation.id"), compile_path("$.thread.id"))


@dataclass(frozen=True, slots=True)
class LearningRule:
    """How long a learned session lives (seconds), and how firmly it belongs to its network."""

    max_age: float
    idle: float
    binding: Binding


class SessionLearner:
    """Sessions of the backend's own. Times and binding are the policy's, as for issued ones."""

    def __init__(
        self, store: SessionStore, events: EventSink, rule: LearningRule, shape: Shape, *, ended: Ended | None = None
    ) -> None:
        self._store = store
        self._events = events
        self._rule = rule
        self._shape = shape
        self._ended = ended

    async def begin(self, exchange: Exchange, session_id: str, *, instead: bool = False) -> None:
        """Store a learned id. `instead`: it replaces the browser's old id, whose conversations move to it."""
        old, rule = exchange.session, self._rule
        try:
            finding = await learn(
                exchange,
                session_id,
                self._store,
                max_age=rule.max_age,
                idle=rule.idle,
                binding=rule.binding,
                shape=self._shape,
            )
            if finding is None:
                return
            if instead and old is not None and exchange.session is not None:
                await self._store.move(old.key, exchange.session.key, exchange.now)
        except StoreUnavailable:
            return  # the store reports it; the client's next request finds no session
        self._record(exchange, finding.event, finding.detail)

    async def end(self, exchange: Exchange) -> None:
        """End the exchange's session: the backend deletes its cookie."""
        if exchange.session is None:
            return
        try:
            gone = await self._store.delete(exchange.session.key)
        except StoreUnavailable:
            return  # the store has reported it; the session ends with its time
        exchange.session = None
        if gone:
            finding = await logged_out(exchange, self._ended)
            self._record(exchange, finding.event, finding.detail)

    def _record(self, exchange: Exchange, event: Any, detail: Any) -> None:
        self._events.record(about(exchange, event, Outcome.ALLOWED, exchange.now, 0, detail))


class CookieObserver:
    """A ResponseObserver: learn from `Set-Cookie`, also beside a 401 that asks for a sign-in."""

    def __init__(self, learner: SessionLearner, name: bytes) -> None:
        self._learner = learner
        self._name = name

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Record the session of a matching `Set-Cookie`; return None, for the body is of no interest."""
        if b"set-cookie" in answer.index:
            for line in answer.values(b"set-cookie"):
                name, separator, value = line.partition(b";")[0].partition(b"=")
                if separator and name.strip() == self._name:
                    self._heard(exchange, line, value.strip().strip(b'"').decode("latin-1"))
        return None

    def reads_whole(self, answer: BackendResponseHead) -> bool:
        """Return whether there is nothing to learn, so that the response may pass as it is."""
        return b"set-cookie" not in answer.index

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Nothing of a body is looked for."""

    def _heard(self, exchange: Exchange, line: bytes, value: str) -> None:
        if not value or is_over(line, exchange.now):
            exchange.pending.append(partial(self._learner.end, exchange))
        else:
            exchange.pending.append(partial(self._learner.begin, exchange, value, instead=True))


class BodyObserver:
    """A ResponseObserver: learn from JSON bodies and events, at the rules' paths.

    `header` is a field that names a conversation (passed to `told`). Where a request's body was not
    inspected (`sees_bodies` False) its response is not used: it may repeat an id that the client invented.
    """

    def __init__(
        self,
        rules: Sequence[IdRule],
        *,
        sees_bodies: bool,
        header: bytes = b"",
        told: Found | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._sees_bodies = sees_bodies
        self._header = header
        self._told = told

    def reads_whole(self, answer: BackendResponseHead) -> bool:  # noqa: ARG002  its paths are read by the filter
        """Return False: a response must pass the filter that reads its paths."""
        return False

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Never asked."""

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Return a reader of a successful JSON, JSON lines or event-stream response; None for any other."""
        if not 200 <= answer.status < 300 or (has_body(exchange) and not self._sees_bodies):
            return None
        value = answer.index.get(self._header) if self._header else None
        if value and self._told is not None:
            exchange.pending.append(partial(self._told, exchange, value.decode("latin-1")))
        rules = tuple(rule for rule in self._rules if rule.when is None or rule.when(exchange))
        if not rules:
            return None
        kind = answer.index.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind == b"application/json" or kind.endswith(b"+json"):
            return JsonReader(IdExtractor(exchange, rules))
        if kind == b"text/event-stream":
            return LinesReader(IdExtractor(exchange, rules), events=True)
        if kind in (b"application/x-ndjson", b"application/ndjson", b"application/jsonl"):
            return LinesReader(IdExtractor(exchange, rules), events=False)
        return None


def conversations(ownership: Ownership, paths: tuple[Path, ...]) -> list[IdRule]:
    """Return the rules that conversations belong to the session in whose answer they are.

    Where a request makes one (`POST /conversations`) the answer's plain `id` is it.
    """
    found, places = partial(owned, ownership), ownership.names.url
    rules = [IdRule(paths, found)] if paths else []
    if places.after and not places.before:
        rules.append(IdRule(MADE, found, partial(begins, places=places)))
    return rules


async def owned(ownership: Ownership, exchange: Exchange, found: str) -> None:
    """Give a conversation to the exchange's session; without the store it stays unowned."""
    try:
        await ownership.own(exchange, found)
    except StoreUnavailable:
        return


def is_over(line: bytes, now: float) -> bool:
    """Return whether a Set-Cookie line deletes its cookie (RFC 6265bis §5.7: Max-Age counts before Expires)."""
    over = False
    for part in line.split(b";")[1:]:
        name, _, value = part.partition(b"=")
        key, text = name.strip().lower(), value.strip().decode("latin-1")
        if key == b"max-age":
            return text.startswith("-") or text.strip("0") == ""
        if key == b"expires":
            try:
                over = parsedate_to_datetime(text).timestamp() <= now
            except (ValueError, OverflowError):
                over = False
    return over
