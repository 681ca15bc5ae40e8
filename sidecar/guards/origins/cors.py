"""CORS: answers preflights, refuses origins that are not allowed, writes the CORS headers of responses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sidecar.bounded_cache import BoundedCache
from sidecar.decision import PASS, Answer, Decision, Detail, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.guards.origins.origin import LONGEST_ORIGIN, OriginPattern, SameOrigin, build_pattern
from sidecar.head import Fields
from sidecar.vocabulary import Code

CACHED: Final = 512 * 1024
"""Bytes of origins, and of header lines for them, that are remembered."""

FORWARDED_HOST: Final = frozenset({b"x-forwarded-host", b"forwarded"})

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REQUESTED = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}){0,31}")
FORBIDDEN_METHODS: Final = frozenset({"CONNECT", "TRACE", "TRACK"})  # Fetch §2.2.1
STANDARD_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LONGEST_AGE: Final = 86_400  # no browser keeps a preflight for longer

OWN_EXPOSED: Final = (
    "X-Request-ID",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Org-Limit",
    "X-RateLimit-Org-Remaining",
    "X-RateLimit-Org-Reset",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "retry-after-ms",
    "x-should-retry",
    "X-Sidecar-Sanitized",
    "X-Session-ID",
)
"""The sidecar's own response headers that a page may read, in every policy."""

CORS_HEADERS: Final = frozenset(
    b"access-control-" + name
    for name in (
        b"allow-origin",
        b"allow-credentials",
        b"allow-methods",
        b"allow-headers",
        b"allow-private-network",
        b"expose-headers",
        b"max-age",
    )
)
"""CORS headers of the backend, which the sidecar replaces."""

VARY = b"Vary: Origin\r\n"
VARY_PREFLIGHT = b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"


def build_cors(
    allowed_origins: Sequence[str],
    allowed_methods: Sequence[str],
    allowed_headers: Sequence[str],
    exposed_headers: Sequence[str],
    allow_credentials: bool,
    max_age: float,
    dangerously_allow_insecure_origins: bool,
    problems: Problems,
    *,
    observe: bool = False,
) -> CorsGuard:
    """Build the guard and its `header_writer`. `problems` is at `cors`.

    `observe`: nothing is refused, so the backend's own CORS headers must go on working; the header writer
    writes nothing then, and the answer to a preflight carries its own headers.
    """
    origins = problems.at("allowed_origins")
    anywhere = "*" in allowed_origins
    patterns = []
    for number, text in enumerate(allowed_origins):
        place = origins.at(f"[{number}]")
        if text in ("*", "null") and allow_credentials:
            place.add(
                f"{text!r} cannot be allowed with credentials: any page could act for a signed-in user",
                "list the origins, or set allow_credentials: false",
            )
        if text not in ("*", "null"):
            pattern = build_pattern(text, place, insecure=dangerously_allow_insecure_origins)
            patterns += [pattern] if pattern is not None else []
    methods = _tokens(allowed_methods, problems.at("allowed_methods"), methods=True)
    headers = _tokens(allowed_headers, problems.at("allowed_headers"))
    exposed = _tokens(exposed_headers, problems.at("exposed_headers"))
    if "*" in exposed and allow_credentials:
        problems.at("exposed_headers").add("'*' means nothing with credentials", "list the headers")
    if not 0 <= max_age <= LONGEST_AGE:
        problems.at("max_age").add(f"{max_age:g} seconds is not a time that browsers keep", "write 0s to 24h")
    return CorsGuard(
        Origins(patterns, anywhere=anywhere, null="null" in allowed_origins),
        Preflight(methods, [name.lower() for name in headers], int(max_age)),
        [*OWN_EXPOSED, *(name for name in exposed if name.lower() not in {own.lower() for own in OWN_EXPOSED})],
        credentials=allow_credentials,
        observe=observe,
    )


def _tokens(names: Sequence[str], problems: Problems, *, methods: bool = False) -> list[str]:
    """Keep the well-formed names, without repetition; report the others."""
    kept: dict[str, str] = {}
    for number, name in enumerate(names):
        place = problems.at(f"[{number}]")
        if TOKEN.fullmatch(name) is None:
            place.add(f"{name!r} is not a name", "write one name of letters, digits and hyphens an entry")
        elif methods and name.upper() in FORBIDDEN_METHODS:
            place.add(f"{name} is forbidden to pages anyway", "leave it out")
        elif methods and name not in STANDARD_METHODS and name.upper() in STANDARD_METHODS:
            place.add(f"methods are case-sensitive, {name!r} is not {name.upper()}", f"write {name.upper()}")
        else:
            kept.setdefault(name if methods else name.lower(), name)
    return list(kept.values())


class Origins:
    """The allowed origins: equality for those that are spelled out, labels for those with a wildcard."""

    def __init__(self, patterns: Sequence[OriginPattern], *, anywhere: bool, null: bool) -> None:
        self.anywhere = anywhere
        exact = {pattern.spelled().encode() for pattern in patterns if pattern.exact}
        self._exact = frozenset(exact | {b"null"} if null else exact)
        self._wild = tuple(pattern for pattern in patterns if not pattern.exact)

    def __contains__(self, origin: bytes) -> bool:
        if origin in self._exact:
            return True
        if self.anywhere:
            return origin != b"null" and b"," not in origin and 0 < len(origin) <= LONGEST_ORIGIN
        return any(pattern.matches(origin) for pattern in self._wild)


class Preflight:
    """The fields of a preflight's answer, but those that every response carries."""

    def __init__(self, methods: Sequence[str], headers: Sequence[str], max_age: int) -> None:
        self._any_method = "*" in methods
        self._any_header = "*" in headers
        self._methods = ", ".join(methods).encode()
        self._headers = ", ".join(headers).encode()
        self._max_age = str(max_age).encode()

    def fields(self, method: bytes, headers: bytes | None) -> Fields:
        """Return what is allowed. A page reads from it in its console what was missing.

        `*` is answered with what was asked for, because browsers take a literal `*` for a name when
        credentials are allowed. Access to a private network is never granted: that header is not sent.
        """
        methods = method if self._any_method and REQUESTED.fullmatch(method) else self._methods
        found: Fields = [(b"Access-Control-Allow-Methods", methods)] if methods else []
        if headers is not None and self._any_header and REQUESTED.fullmatch(headers):
            found.append((b"Access-Control-Allow-Headers", headers))
        elif headers is not None and self._headers and not self._any_header:
            found.append((b"Access-Control-Allow-Headers", self._headers))
        found.append((b"Access-Control-Max-Age", self._max_age))
        return found


class CorsGuard:
    """Set `exchange.origin`; answer preflights, refuse origins that are neither allowed nor our own.

    A request without Origin passes: no browser leaves it out of a cross-origin request that could
    change something or be read, nor of a WebSocket upgrade.
    """

    name = "cors"

    def __init__(
        self,
        origins: Origins,
        preflight: Preflight,
        exposed: Sequence[str],
        *,
        credentials: bool,
        observe: bool = False,
    ) -> None:
        self._origins = origins
        self._preflight = preflight
        self._same = SameOrigin()
        self._known: BoundedCache[bytes, bool] = BoundedCache(CACHED)
        self.header_writer = CorsHeaderWriter(self, exposed, credentials=credentials, observe=observe)

    def check(self, exchange: Exchange) -> Decision:
        """Answer a preflight with 204, pass an allowed origin, refuse any other with 403."""
        index = exchange.head.index
        origin = index.get(b"origin")
        if origin is None:
            return PASS
        if self.allows(origin) or self._own(exchange, origin):
            exchange.origin = origin
            if exchange.head.method == "OPTIONS":
                wanted = index.get(b"access-control-request-method")
                if wanted is not None:
                    fields = self._preflight.fields(wanted, index.get(b"access-control-request-headers"))
                    return Answer(204, fields + self.header_writer.for_answer(origin))
            return PASS
        return Refuse(Code.CORS_BLOCKED, _compared(origin, exchange))

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`)."""
        return self.check(exchange) is PASS

    def _own(self, exchange: Exchange, origin: bytes) -> bool:
        """Return whether an origin is the one that the request was sent to."""
        host, secure = exchange.host, exchange.secure
        if self._same.holds(origin, host, secure=secure):
            return True
        index = exchange.head.index
        if exchange.public_host is None and exchange.client.trusted and index.get(b"sec-fetch-site") == b"same-origin":
            # A proxy that changes Host and says nothing of the public one, as nginx by default: the browser knows it,
            # and no page can write this header (Fetch Metadata §2.4).
            return True
        # X-Forwarded-Port is often the proxy's inner port; Host comes from the browser.
        sent = index.get(b"host", b"").lower()
        return host.startswith(sent + b":") and self._same.holds(origin, sent, secure=secure)

    def allows(self, origin: bytes) -> bool:
        """Return whether the list allows an origin, as sent."""
        known = self._known.get(origin)
        if known is None:
            if len(origin) > LONGEST_ORIGIN:
                return False
            known = self._known.remember(origin, origin in self._origins, len(origin))
        return known

    @property
    def anywhere(self) -> bool:
        """Whether `*` is in the list."""
        return self._origins.anywhere


def _compared(origin: bytes, exchange: Exchange) -> Detail:
    """Say which origins differ: most of these refusals are a proxy that changes Host, and is not in the policy."""
    own = (b"https://" if exchange.secure else b"http://") + exchange.host
    detail: dict[str, str | bool] = {
        "origin": origin[:LONGEST_ORIGIN].decode("latin-1"),
        "own_origin": own[:LONGEST_ORIGIN].decode("latin-1"),
    }
    if not exchange.client.trusted and not FORWARDED_HOST.isdisjoint(exchange.head.index):
        detail["forwarding_headers_of_untrusted_peer"] = exchange.peer
    return detail


class CorsHeaderWriter:
    """CORS lines for every response, refusals of earlier guards and of the parser included."""

    by_head = True

    def __init__(self, guard: CorsGuard, exposed: Sequence[str], *, credentials: bool, observe: bool) -> None:
        self.owns: frozenset[bytes] = frozenset() if observe else CORS_HEADERS
        self._guard = guard
        self._observe = observe
        self._credentials = credentials
        self._exposed = ", ".join(exposed).encode()
        self._known: BoundedCache[bytes, tuple[bytes, bytes]] = BoundedCache(CACHED)

    def lines(self, exchange: Exchange) -> bytes:
        """Return Access-Control-* for an allowed origin, and Vary for every response (Fetch, CORS protocol)."""
        if self._observe:
            return b""
        head = exchange.head
        preflight = head.method == "OPTIONS" and b"access-control-request-method" in head.index
        origin = head.index.get(b"origin")
        if origin is None or not self._guard.allows(origin):
            return VARY_PREFLIGHT if preflight else VARY
        ready = self._known.get(origin)
        if ready is None:
            own = b"".join(b"%s: %s\r\n" % field for field in self._fields(origin))
            ready = (own + VARY, own + VARY_PREFLIGHT)
            self._known.remember(origin, ready, len(origin) + len(ready[0]) + len(ready[1]))
        return ready[preflight]

    def for_answer(self, origin: bytes) -> Fields:
        """Return what a preflight's answer must carry itself, because the header writer is silent."""
        return [*self._fields(origin), (b"Vary", VARY_PREFLIGHT[6:-2])] if self._observe else []

    def _fields(self, origin: bytes) -> Fields:
        # A literal `*` lets shared caches serve one response to all origins; with credentials the compiler refuses it.
        allowed = b"*" if self._guard.anywhere and not self._credentials else origin
        fields: Fields = [(b"Access-Control-Allow-Origin", allowed)]
        if self._credentials:
            fields.append((b"Access-Control-Allow-Credentials", b"true"))
        fields.append((b"Access-Control-Expose-Headers", self._exposed))
        return fields
