"""What a policy says about sessions and conversations, as the steps and watchers of its routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import re2

from sidecar.errors import Problems
from sidecar.events import EventSink
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, Step
from sidecar.guards.limits.body_rate_limit import HeadRateLimits, build_body_rate_limit, split
from sidecar.guards.limits.rate_limit import RateLimitGuard, build_rate_limit
from sidecar.guards.sessions.conversation_ids import BodyIdPrefilter, form_of, in_form, names_of
from sidecar.guards.sessions.ownership import BodyOwnershipGuard, Ownership, OwnershipGuard
from sidecar.guards.sessions.session import Binding, BodySessionGuard, Need, SessionGuard, loads_page
from sidecar.guards.sessions.session_endpoint import CookieRule, Ended, SessionEndpoint
from sidecar.guards.sessions.session_id import (
    SessionIdGuard,
    SessionIdSources,
    Shape,
    build_session_id_sources,
    is_well_formed,
)
from sidecar.messages.content_type import open_body
from sidecar.messages.json_path import Path, compile_path
from sidecar.messages.protocols import AUTO, BY_NAME, KNOWN
from sidecar.messages.strict_json import Fault, parse
from sidecar.messages.text_finder import disguised
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route as RouteSchema
from sidecar.responses.filters import ResponseObserver
from sidecar.responses.id_extraction import IdRule
from sidecar.responses.session_learning import (
    BodyObserver,
    CookieObserver,
    LearningRule,
    SessionLearner,
    conversations,
    owned,
)
from sidecar.session import seal_of
from sidecar.stores.interfaces import RateStore, SessionStore
from sidecar.stores.memory_sessions import MemorySessionStore

LONGEST_ID: Final = 1024
LARGEST: Final = 1 << 20
"""Bytes of a body once its content coding is opened."""

NO_ID: Final = "?"
"""Stands for what is no text, or hides its name: it has no session's shape, so it is refused as one."""

Enforced = Callable[[str], bool]
"""Says whether a guard of this name refuses on the route at hand."""


@dataclass(frozen=True, slots=True)
class RouteSessions:
    """What sessions and ownership add to one route.

    head      asked before the limits
    after     asked after the limits
    body      asked after the message's guard
    watchers  look at its answers
    """

    head: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    body: tuple[BodyStep, ...] = ()
    watchers: tuple[ResponseObserver, ...] = ()
    in_body: bool = False


NOTHING: Final = RouteSessions()


class SessionRules:
    """The parts that the routes of one policy share; wrong places are problems at `sessions.in`."""

    def __init__(
        self,
        schema: PolicySchema,
        store: SessionStore,
        events: EventSink,
        problems: Problems,
        *,
        random: Callable[[int], bytes],
        ended: Ended | None = None,
    ) -> None:
        self._sessions = schema.sessions
        self._ownership = schema.ownership
        self.active = schema.sessions.mode != "off"
        self._store = store
        self._events = events
        self._random = random
        self._ended = ended
        places = [str(place) for place in schema.sessions.places]
        learned = schema.sessions.learn if schema.sessions.mode == "learn" else None
        if learned is not None and learned.cookie is not None and f"cookie:{learned.cookie}" not in places:
            places.append(f"cookie:{learned.cookie}")  # what the backend sets is what browsers bring back
        self._places = (
            build_session_id_sources(places, problems.at("sessions").at("in")) if self.active else SessionIdSources()
        )
        self._body_paths = tuple(compile_path(text) for text in self._places.body)
        self._rule = LearningRule(
            schema.sessions.max_age,
            schema.sessions.idle if schema.sessions.idle is not None else schema.sessions.max_age,
            Binding(schema.sessions.bind_to),
        )
        self._shape: Shape = matcher(learned.pattern) if learned is not None else is_well_formed

    def for_route(self, route: RouteSchema | None, enforced: Enforced) -> RouteSessions:
        """Return what one route gets; None is what no route matches, where sessions are optional."""
        need = Need(route.session) if route is not None else Need.OPTIONAL
        if not self.active or need is Need.NONE:
            return NOTHING
        in_body = route is not None and route.message is not None and bool(self._body_paths)
        refuses = enforced("session")
        optional = need is Need.OPTIONAL
        ids = SessionIdGuard(self._places, self._shape, forgives=loads_page if optional else None, strips=refuses)
        guard = SessionGuard(
            self._store,
            need,
            binding=self._rule.binding,
            idle=self._rule.idle,
            in_body=in_body,
            pass_when_unavailable=self._loss_passes,
            ids=ids,
            seal=_unsealed if isinstance(self._store, MemorySessionStore) else seal_of,
        )
        body: tuple[BodyStep, ...] = ()
        if in_body:
            body = (BodyStep(BodySessionGuard(ids, guard, BodyIds(self._body_paths)), refuses, waits=True),)
        head = (Step(ids, refuses), Step(guard, refuses, waits=True))
        return self._owned(route, RouteSessions(head, (), body, (), in_body), enforced)

    @property
    def _loss_passes(self) -> bool:
        return self._sessions.on_store_loss == "pass"

    def _owned(self, route: RouteSchema | None, so_far: RouteSessions, enforced: Enforced) -> RouteSessions:
        """Add ownership, and the watchers of both."""
        after: tuple[Step, ...] = ()
        body = so_far.body
        ownership = None
        protocol = route.protocol if route is not None else "plain"
        sees_bodies = route is not None and route.message is not None
        if self._ownership.mode != "off":
            names = names_of(protocol)
            ownership = Ownership(
                self._store,
                names,
                ttl=self._rule.max_age,
                adopt=self._ownership.adopt,
                pass_when_unavailable=self._loss_passes,
            )
            refuses = self._ownership.mode == "enforce" and enforced("ownership")
            after = (Step(OwnershipGuard(ownership, in_body=so_far.in_body), refuses, waits=True),)
            alone = not sees_bodies
            if sees_bodies or (protocol != "plain" and names.paths):
                guard = BodyOwnershipGuard(ownership, alone=alone, in_body=so_far.in_body)
                body = (*body, BodyStep(guard, refuses, waits=True))
                sees_bodies = True
        # A session that stands in a body nobody looks into could be an answer's echo of a client's invention.
        sees_sessions = so_far.in_body or not self._body_paths
        watchers = self._watchers(protocol, ownership, sees_bodies=sees_bodies, sees_sessions=sees_sessions)
        return RouteSessions(so_far.head, after, body, watchers, so_far.in_body)

    def _watchers(
        self, protocol: str, ownership: Ownership | None, *, sees_bodies: bool, sees_sessions: bool
    ) -> tuple[ResponseObserver, ...]:
        watchers: list[ResponseObserver] = []
        learn = self._sessions.learn if self._sessions.mode == "learn" else None
        if learn is not None:
            learner = SessionLearner(self._store, self._events, self._rule, self._shape, ended=self._ended)
            if learn.cookie is not None:
                watchers.append(CookieObserver(learner, learn.cookie.encode()))
            if learn.json_path is not None:
                rule = IdRule((compile_path(learn.json_path),), learner.begin)
                watchers.append(BodyObserver([rule], sees_bodies=sees_sessions))
        if ownership is not None:
            rules = conversations(ownership, learned_by(protocol))
            header, told = ownership.names.header, partial(owned, ownership)
            if rules or header:
                watchers.append(BodyObserver(rules, sees_bodies=sees_bodies, header=header, told=told))
        return tuple(watchers)

    # --- the sidecar's own path ----------------------------------------------------------------

    def endpoint(self) -> tuple[RouteSessions, tuple[Step, ...]]:
        """Return what the session path is asked and its last steps; none where sessions are not made here.

        Whoever asks for a new session may hold a broken id: it is not held against him.
        """
        if self._sessions.mode != "issue":
            return NOTHING, ()
        cookie = CookieRule(self._sessions.cookie.same_site.capitalize().encode(), self._sessions.cookie.partitioned)
        endpoint = SessionEndpoint(
            self._store,
            self._places,
            self._random,
            max_age=self._rule.max_age,
            idle=self._rule.idle,
            binding=self._rule.binding,
            cookie=cookie,
            ended=self._ended,
        )
        ids = SessionIdGuard(self._places, forgives=_begins)
        return RouteSessions((Step(ids),)), (Step(endpoint, waits=True),)


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """The limits of one route: what the head asks, and what waits for a session in the body."""

    head: RateLimitGuard | HeadRateLimits
    after: tuple[Step, ...] = ()
    body: tuple[BodyStep, ...] = ()


def route_limits(whole: RateLimitGuard, store: RateStore, *, in_body: bool, enforce: bool) -> RouteLimits:
    """Divide the limits of a route; `whole` asks all of them at once, where none has to wait for a body."""
    head, late = split(whole.limits)
    if not in_body or not late:
        return RouteLimits(whole)
    first = build_rate_limit(head, store, Problems(), waits=whole.waits)
    joined = build_body_rate_limit(first, build_rate_limit(late, store, Problems(), waits=whole.waits))
    early = HeadRateLimits(first, whole)
    return RouteLimits(early, (Step(joined, enforce, joined.waits),), (BodyStep(joined, enforce, joined.waits),))


def learned_by(protocol: str) -> tuple[Path, ...]:
    """Return where a protocol's answers name conversations; `auto` is left to those that say so plainly."""
    known = BY_NAME[protocol]
    if known is not AUTO:
        return known.learned
    paths = {path.text: path for each in KNOWN for path in each.learned if path.text not in ("$.id", "$.response.id")}
    return tuple(path for path in paths.values() if path.steps[0] != 1)


def matcher(pattern: str) -> Shape:
    """Return the shape of ids that a backend makes: the pattern's whole match, in linear time."""
    options = re2.Options()
    options.log_errors = False
    compiled = re2.compile(pattern, options)

    def matches(session_id: str) -> bool:
        return len(session_id) <= LONGEST_ID and compiled.fullmatch(session_id) is not None

    return matches


class BodyIds:
    """Find what stands at the policy's places in a body: JSON, or the fields of a form."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self._spelled = BodyIdPrefilter(paths)

    def __call__(self, exchange: Exchange, body: bytes) -> list[str]:
        if not body:
            return []
        head = exchange.head.index
        opened = open_body(head.get(b"content-encoding"), body, LARGEST)
        if not isinstance(opened, bytes):
            return []
        form = form_of(head.get(b"content-type"))
        if form is not None:
            fields = in_form(form, opened, self._paths)
            return [NO_ID] if isinstance(fields, str) else fields
        if not self._spelled.may_stand_in(opened):
            return []
        value = parse(opened)
        if type(value) is Fault:
            return []
        found: list[Any] = [NO_ID for path in self._paths if disguised(value, path.steps)]
        found += [text for path in self._paths for _, text in path.find(value) if text is not None]
        return [text if isinstance(text, str) else NO_ID for text in found]


def _unsealed(_: str) -> bytes:
    """A session in this process is not sealed; the key would cost more than finding it."""
    return b""


def _begins(exchange: Exchange) -> bool:
    return exchange.head.method == "POST"
