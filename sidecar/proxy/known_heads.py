"""A cache of request heads: what a head alone decides is worked out once, not for each request.

The pages of a chat send the same head again and again, but for the digits of Content-Length. A head that
comes for the second time, byte for byte, from the same peer and under the same policy, is kept with all
that the parser, the strict rules and the guards that look at nothing else (`Guard.settled`) made of it.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

from sidecar.bounded_cache import BoundedCache
from sidecar.exchange import Client, Exchange
from sidecar.guard import HeaderWriter
from sidecar.head import RequestHead
from sidecar.policy.policy import Policy, Route
from sidecar.proxy.codec.request_heads import RequestHeadReader
from sidecar.proxy.strict_rules import head_too_large, request_framing

MOST_BYTES: Final = 14 * 1024 * 1024
"""Of one generation; there are two."""

GENERATION: Final = 60.0
"""Seconds after which a new generation begins: a head that is not used goes after at most two. Heads hold the
ids of sessions, which are kept nowhere else as they were sent."""

SEEN: Final = 8192
"""Hashes of heads that came once."""

_OVERHEAD: Final = 700
_FIELD: Final = 40
"""Bytes of an entry besides its texts, and of each of its fields that other heads have, too."""

_OWN: Final = 240
"""Bytes of a field that no other head has, besides its line and its value."""

SHARED: Final = 1024 * 1024
"""Bytes of field lines that several heads share, and of header lines for responses: most of a browser's lines
are those of all its kind."""

_LENGTH: Final = b"\r\nContent-Length: "
_LOWER_LENGTH: Final = _LENGTH.lower()
_MOST_DIGITS: Final = 15

NEVER: Final = frozenset({
    b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key",
    b"x-request-id", b"upgrade", b"expect", b"access-control-request-method",
})  # fmt: skip
"""Names whose heads are not kept: keys are not to be collected, others differ each time or are rare."""

Key: TypeAlias = tuple[str, bool, bytes]


class KnownHead:
    """A head, and all that it decides.

    head      as the reader returned it
    framing   of its body, with the Content-Length that it came with
    route     that it takes
    keep      the connection may serve further requests
    said      the header lines of responses that depend on the head alone
    writers   what writes the others
    front     what the backend receives of it, without what differs each time; None until it was sent once
    front_of  (whole answers are asked for, names of the fields that were put in), which `front` depends on
    site      as `other_site` returns it
    claims    it makes claims of identity, which are counted each time
    size      its bytes, about
    """

    __slots__ = (
        "claims",
        "client",
        "framing",
        "front",
        "front_of",
        "head",
        "keep",
        "length",
        "organization",
        "origin",
        "public_host",
        "route",
        "said",
        "secure",
        "session_id",
        "session_key",
        "site",
        "size",
        "user",
        "writers",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, route: Route, framing: int, keep: bool) -> None:
        self.head = exchange.head
        self.framing = framing
        self.length = exchange.head.index.get(b"content-length", b"")
        self.route = route
        self.keep = keep
        self.secure = exchange.secure
        self.public_host = exchange.public_host
        self.client: Client = exchange.client
        self.organization = exchange.organization
        self.user = exchange.user
        self.origin = exchange.origin
        self.session_id = exchange.session_id
        self.session_key = exchange.session_key
        self.site = other_site(exchange)
        self.said = b""
        self.writers: tuple[HeaderWriter, ...] = tuple(each for each in route.header_writers if not by_head(each))
        self.front: bytes | None = None
        self.front_of: tuple[object, ...] = ()
        self.claims = False
        self.size = 0

    def begin(self, exchange_id: str, started: float, now: float, head: RequestHead, peer: str) -> Exchange:
        """Return the exchange of a request with this head, as the settled guards leave it."""
        exchange = Exchange(exchange_id, started, now, head, peer, self.secure)
        exchange.public_host = self.public_host
        exchange.route = self.route.name
        exchange.client = self.client
        exchange.organization = self.organization
        exchange.user = self.user
        exchange.origin = self.origin
        exchange.session_id = self.session_id
        exchange.session_key = self.session_key
        return exchange


class ReadHead:
    """A head that has just been read; `key` is set when it came before and may be kept."""

    __slots__ = ("framing", "head", "key", "known")

    def __init__(self, head: RequestHead, framing: int, known: KnownHead | None = None, key: Key | None = None) -> None:
        self.head = head
        self.framing = framing
        self.known = known
        self.key = key


class KnownHeads:
    """Reads the heads of one listener."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = RequestHeadReader()
        self._policy: Policy | None = None
        self._young: dict[Key, KnownHead] = {}
        self._old: dict[Key, KnownHead] = {}
        self._held = 0
        self._full = False  # the young generation is: what comes now is not kept, nor is anything worked out for it
        self._turning = False
        self._seen: set[int] = set()
        self._share()

    def _share(self) -> None:
        """Begin anew with what heads share."""
        self._lines: BoundedCache[bytes, tuple[tuple[bytes, bytes], bytes]] = BoundedCache(SHARED)
        self._said: BoundedCache[bytes, bytes] = BoundedCache(SHARED)

    def read(self, raw: bytes, policy: Policy, peer: str, secure: bool) -> ReadHead:
        """Return a complete head, blank line included; raise Malformed when it has no single reading."""
        if policy is not self._policy:
            self._forget(policy)
        at = raw.find(_LENGTH)
        if at < 0:
            at = raw.find(_LOWER_LENGTH)
        length = b""
        rest = raw
        if at >= 0:
            at += 18
            end = raw.find(b"\r", at)
            length = raw[at:end]
            if not length.isdigit() or len(length) > _MOST_DIGITS:
                return self._read(raw, policy)
            rest = raw[:at] + raw[end:]
        key = (peer, secure, rest)
        known = self._young.get(key)
        if known is None:
            known = self._old.get(key)
            if known is None:
                return self._new(raw, key, policy)
            if not self._full:
                del self._old[key]
                self._hold(key, known)
        head = known.head
        if length == known.length:
            return ReadHead(head, known.framing, known)
        index = head.index.copy()
        index[b"content-length"] = length
        head = RequestHead(head.method, head.target, head.path, head.version, head.lines, index)
        return ReadHead(head, int(length), known)

    def _read(self, raw: bytes, policy: Policy) -> ReadHead:
        bounds = policy.bounds
        if len(raw) - 4 > bounds.max_header_bytes:
            raise head_too_large(raw, bounds.max_target)
        head = self._reader.read(raw, bounds.max_target, bounds.max_fields)
        return ReadHead(head, request_framing(head))

    def _new(self, raw: bytes, key: Key, policy: Policy) -> ReadHead:
        """Read a head that is not known; say when it came before."""
        read = self._read(raw, policy)
        if self._full:
            return read
        mark = hash(key)
        if mark not in self._seen:
            if len(self._seen) >= SEEN:
                self._seen.clear()
            self._seen.add(mark)
        elif len(read.head.lines) == len(read.head.index) and NEVER.isdisjoint(read.head.index):
            # No name occurs twice: the digits that were left out of the key are those of the only Content-Length.
            read.key = key
        return read

    def keep(self, read: ReadHead, exchange: Exchange, route: Route, *, reusable: bool) -> None:
        """Keep a head if the guards that go by heads alone pass every request that has it.

        A third party's routes are left out: their requests carry keys.
        """
        assert read.key is not None
        if route.outward:
            return
        trial = exchange.anew()
        for step in route.settled_steps:
            assert step.settled is not None
            if not step.settled(trial):
                return
        if trial.head is not exchange.head:
            return
        trial.head, own = self._shared(trial.head)
        known = KnownHead(trial, route, read.framing, reusable)
        said = b"".join([writer.lines(trial) for writer in route.header_writers if by_head(writer)])
        known.said = self._said.get(said) or self._said.remember(said, said, len(said))
        size = 2 * (len(read.key[2]) + len(trial.head.target))
        known.size = _OVERHEAD + size + _FIELD * len(trial.head.lines) + own
        self._hold(read.key, known)

    def _shared(self, head: RequestHead) -> tuple[RequestHead, int]:
        """Return the same head, made of lines that other heads have, too; and the bytes of those that none has."""
        lines, index, known, own = [], {}, self._lines, 0
        for pair in head.lines:
            name, line = pair
            found = known.get(line)
            if found is None or found[0][0] != name:
                size = 2 * len(line) + _OWN
                own += size
                found = known.remember(line, (pair, head.index[name]), size)
            lines.append(found[0])
            index[name] = found[1]
        return RequestHead(head.method, head.target, head.path, head.version, lines, index), own

    def _hold(self, key: Key, known: KnownHead) -> None:
        if self._held + known.size > MOST_BYTES:
            # Not a new generation: more heads than fit, each in its turn, would all go before they come again.
            self._full = True
            return
        self._held += known.size
        self._young[key] = known
        if not self._turning:
            self._turning = True
            self._loop.call_later(GENERATION, self._age)

    def _turn(self) -> None:
        """Begin a new generation; the one before the last is forgotten."""
        self._old, self._young = self._young, {}
        self._held, self._full = 0, False
        self._share()

    def _age(self) -> None:
        self._turn()
        self._turning = bool(self._old)
        if self._turning:
            self._loop.call_later(GENERATION, self._age)

    def _forget(self, policy: Policy) -> None:
        self._policy = policy
        self._young.clear()
        self._old.clear()
        self._seen.clear()
        self._share()
        self._held, self._full = 0, False


def by_head(writer: HeaderWriter) -> bool:
    """Return whether a header writer's lines depend on the request's head and the policy alone."""
    return getattr(writer, "by_head", False)


def other_site(exchange: Exchange) -> str:
    """Return the Origin of a page that another site serves, "" for one of the request's own host or for none."""
    origin = exchange.origin
    if origin is None or origin.endswith(b"://" + exchange.host):
        return ""
    return origin.decode("latin-1")
