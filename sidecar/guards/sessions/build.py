"""Builds the session and ownership guards of each route from `sessions` and `ownership`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import re2

from sidecar.bounded_cache import BoundedCache
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.guard import BodyStep, Enforced, Step
from sidecar.guards.sessions.conversation_ids import BodyIdPrefilter, form_of, in_form, names_of
from sidecar.guards.sessions.navigation import NavigationSession, is_navigation
from sidecar.guards.sessions.ownership import BodyOwnershipGuard, Ownership, OwnershipGuard
from sidecar.guards.sessions.session import Binding, BodySessionGuard, Need, SessionGuard, loads_page
from sidecar.guards.sessions.session_endpoint import CookieRule, SessionEndpoint
from sidecar.guards.sessions.session_id import (
    SessionIdGuard,
    SessionIdSources,
    Shape,
    build_session_id_sources,
    is_well_formed,
)
from sidecar.json_path import Path, compile_path
from sidecar.messages.content_type import open_body
from sidecar.messages.strict_json import Fault, parse, parse_once
from sidecar.messages.text_finder import disguised
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route as RouteSchema
from sidecar.services import Services
from sidecar.session import seal_of
from sidecar.stores.memory_sessions import MemorySessionStore

LONGEST_ID: Final = 1024
LARGEST: Final = 1 << 20
_KEYS: Final = 256 * 1024
"""Bytes of sets of keys that are remembered."""
"""Bytes of a body once its content coding is opened."""

NO_ID: Final = "?"
"""Stands for a value that is no text or whose name is disguised: it has no session's shape, so it is refused."""


@dataclass(frozen=True)
class RouteSessions:
    """What sessions and ownership add to one route.

    head       asked before the limits
    after      asked after the limits
    body       asked after the message's guard
    in_body    the session may be in the body
    ownership  of the conversations that its responses name; None where there is no such guard
    reads_bodies  the request's body is looked into, so an id in it is known
    """

    head: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    body: tuple[BodyStep, ...] = ()
    in_body: bool = False
    ownership: Ownership | None = None
    reads_bodies: bool = False


NOTHING: Final = RouteSessions()


class SessionGuards:
    """The session guards of one policy; wrong places are problems at `sessions.in`."""

    def __init__(self, schema: PolicySchema, services: Services, problems: Problems) -> None:
        self._sessions = schema.sessions
        self._cookie = _cookie_rule(schema)
        self._ownership = schema.ownership
        self.active = schema.sessions.mode != "off"
        self._store = services.sessions
        self._random = services.random
        self._ended = services.ended
        places = [str(place) for place in schema.sessions.places]
        learned = schema.sessions.learn if schema.sessions.mode == "learn" else None
        if learned is not None and learned.cookie is not None and f"cookie:{learned.cookie}" not in places:
            places.append(f"cookie:{learned.cookie}")  # browsers send back the cookie that the backend sets
        self._places = (
            build_session_id_sources(places, problems.at("sessions").at("in")) if self.active else SessionIdSources()
        )
        self._issues_cookie = schema.sessions.mode == "issue" and bool(self._places.cookies)
        self.body_paths = tuple(compile_path(text) for text in self._places.body)
        self._max_age = schema.sessions.max_age
        self._idle = schema.sessions.idle if schema.sessions.idle is not None else schema.sessions.max_age
        self._remembers_since = services.started + self._max_age - 1 if services.started else 0.0
        self._binding = Binding(schema.sessions.bind_to)
        self.shape: Shape = matcher(learned.pattern) if learned is not None else is_well_formed

    @property
    def fields(self) -> tuple[bytes, ...]:
        """Lower-case names of the header fields that ids are looked for in."""
        return self._places.headers

    def for_route(self, route: RouteSchema | None, enforced: Enforced) -> RouteSessions:
        """Return what one route gets; None is what no route matches, where sessions are optional."""
        need = Need(route.session) if route is not None else Need.OPTIONAL
        if not self.active or need is Need.NONE:
            return NOTHING
        in_body = route is not None and route.message is not None and bool(self.body_paths)
        refuses = enforced("session")
        optional = need is Need.OPTIONAL
        begins = is_navigation if self._issues_cookie else None
        ids = SessionIdGuard(self._places, self.shape, forgives=loads_page if optional else begins, strips=refuses)
        guard = SessionGuard(
            self._store,
            need,
            binding=self._binding,
            idle=self._idle,
            in_body=in_body,
            pass_when_unavailable=self._passes_without_store,
            ids=ids,
            seal=_unsealed if isinstance(self._store, MemorySessionStore) else seal_of,
            remembers_since=self._remembers_since,
            begins=begins,
        )
        body: tuple[BodyStep, ...] = ()
        if in_body:
            body = (BodyStep(BodySessionGuard(ids, guard, BodyIds(self.body_paths)), refuses),)
        head = (Step(ids, refuses), Step(guard, refuses))
        pages = route is None or not route.match.methods or "GET" in route.match.methods
        after = self._navigations(required=need is Need.REQUIRED) if pages else ()
        return self._with_ownership(route, RouteSessions(head, after, body, in_body), enforced)

    def _navigations(self, *, required: bool) -> tuple[Step, ...]:
        """Return what gives a page that loads its session; nothing where sessions are not issued by cookie."""
        if not self._issues_cookie:
            return ()
        guard = NavigationSession(
            self._store,
            self._places.cookies,
            self._cookie,
            self._random,
            max_age=self._max_age,
            idle=self._idle,
            binding=self._binding,
            required=required,
        )
        return (Step(guard),)

    @property
    def _passes_without_store(self) -> bool:
        return self._sessions.on_store_loss == "pass"

    def _with_ownership(self, route: RouteSchema | None, so_far: RouteSessions, enforced: Enforced) -> RouteSessions:
        reads_bodies = route is not None and route.message is not None
        if self._ownership.mode == "off":
            return replace(so_far, reads_bodies=reads_bodies)
        protocol = route.protocol if route is not None else "plain"
        names = names_of(protocol)
        ownership = Ownership(
            self._store,
            names,
            ttl=self._max_age,
            adopt=self._ownership.adopt,
            pass_when_unavailable=self._passes_without_store,
        )
        refuses = self._ownership.mode == "enforce" and enforced("ownership")
        after = (*so_far.after, Step(OwnershipGuard(ownership, in_body=so_far.in_body), refuses))
        body = so_far.body
        if reads_bodies or (protocol != "plain" and names.paths):
            guard = BodyOwnershipGuard(ownership, alone=not reads_bodies, in_body=so_far.in_body)
            body = (*body, BodyStep(guard, refuses))
            reads_bodies = True
        return replace(so_far, after=after, body=body, ownership=ownership, reads_bodies=reads_bodies)

    def endpoint(self) -> tuple[RouteSessions, tuple[Step, ...]]:
        """Return what the session path is asked and its last steps; none where sessions are not issued here.

        A client that asks for a new session may hold a malformed id: that is not counted against it.
        """
        if self._sessions.mode != "issue":
            return NOTHING, ()
        cookie = self._cookie
        endpoint = SessionEndpoint(
            self._store,
            self._places,
            self._random,
            max_age=self._max_age,
            idle=self._idle,
            binding=self._binding,
            cookie=cookie,
            ended=self._ended,
        )
        ids = SessionIdGuard(self._places, forgives=_begins)
        return RouteSessions((Step(ids),)), (Step(endpoint),)


def build(schema: PolicySchema, services: Services, problems: Problems) -> SessionGuards:
    """Build the session guards of a policy; `problems` is at its root."""
    return SessionGuards(schema, services, problems)


def matcher(pattern: str) -> Shape:
    """Return the shape of ids that a backend makes: the pattern's whole match, in linear time."""
    options = re2.Options()
    options.log_errors = False
    compiled = re2.compile(pattern, options)

    def matches(session_id: str) -> bool:
        return len(session_id) <= LONGEST_ID and compiled.fullmatch(session_id) is not None

    return matches


class BodyIds:
    """Find what is at the policy's places in a body: JSON, or the fields of a form."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        names = [path.name for path in paths]
        self._names = tuple(name for name in names if name is not None) if None not in names else ()
        self._disguised: BoundedCache[tuple[str, ...], bool] = BoundedCache(_KEYS)
        self._spelled = BodyIdPrefilter(paths)

    def __call__(self, exchange: Exchange, body: bytes) -> list[str]:
        if not body:
            return []
        head = exchange.head.index
        if self._names and head.get(b"content-type") == b"application/json" and b"content-encoding" not in head:
            value = parse_once(exchange, body)
            if type(value) is dict:
                return self._in_object(value)
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
        return self._in_value(value)

    def _in_object(self, value: dict[str, Any]) -> list[str]:
        """Do the same for an object whose fields are named, the usual case."""
        keys = tuple(value)
        disguised_here = self._disguised.get(keys)
        if disguised_here is None:
            found = any(disguised(value, path.steps) for path in self._paths)
            disguised_here = self._disguised.remember(keys, found, sum(map(len, keys)))
        if disguised_here:
            return self._in_value(value)
        ids = [value[name] for name in self._names if name in value]
        return [text if isinstance(text, str) else NO_ID for text in ids if text is not None]

    def _in_value(self, value: Any) -> list[str]:
        found: list[Any] = [NO_ID for path in self._paths if disguised(value, path.steps)]
        found += [text for path in self._paths for _, text in path.find(value) if text is not None]
        return [text if isinstance(text, str) else NO_ID for text in found]


def _unsealed(_: str) -> bytes:
    """A session in this process is not sealed; the key would cost more than finding it."""
    return b""


def _begins(exchange: Exchange) -> bool:
    return exchange.head.method == "POST"


def _cookie_rule(schema: PolicySchema) -> CookieRule:
    """Return how the cookie of an issued session travels: as its own section says, or as all cookies do in frames."""
    own, shared = schema.sessions.cookie, schema.cookies
    in_frames = shared.partitioned or shared.same_site == "none"
    same_site = b"None" if in_frames else own.same_site.capitalize().encode()
    return CookieRule(same_site, own.partitioned or shared.partitioned)
