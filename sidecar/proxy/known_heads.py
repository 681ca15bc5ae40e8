"""A cache of request heads: what a head alone decides is worked out once, not for each request.

The pages of a chat send the same head again and again, but for the values of some fields: the client's address,
its session, a trace, the digits of Content-Length (`Policy.varying`). A head that comes for the second time, byte for
byte but for these values, is kept with all that the parser, the strict rules and the guards that look at nothing else
(`Guard.settled`) made of it. The values are put into it each time, and the guards that look at them are asked.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

from sidecar.bounded_cache import BoundedCache
from sidecar.exchange import Exchange
from sidecar.guard import HeaderWriter
from sidecar.head import Fields, RequestHead
from sidecar.policy.policy import Policy, Route
from sidecar.proxy.codec.request_heads import RequestHeadReader
from sidecar.proxy.forwarding_headers import FrontFormat
from sidecar.proxy.strict_rules import head_too_large, request_framing

MOST_BYTES: Final = 14 * 1024 * 1024
"""Of one generation; there are two."""

GENERATION: Final = 60.0
"""Seconds after which a new generation begins: a head that is not used goes after at most two."""

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

_MOST_DIGITS: Final = 15

NEVER: Final = frozenset({
    b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key",
    b"upgrade", b"expect", b"access-control-request-method",
})  # fmt: skip
"""Names whose heads are not kept: keys are not to be collected, others are rare."""

MOST_MARKS: Final = 24
"""Spellings of varying fields that are looked for in each head. In another spelling, a field is like any other."""

Key: TypeAlias = tuple[bool, bytes]
"""Whether the connection is secure; the head without what varies."""

Values: TypeAlias = list[tuple[bytes, bytes, bytes]]
"""Of each varying field its lower-case name, its value, and its line."""


class KnownHead:
    """A head, and all that it decides.

    head      as the reader returned it, the values of varying fields left out
    places    name of a varying field → number of its line
    framing   of its body, with the Content-Length that it came with
    route     that it takes
    keep      the connection may serve further requests
    said      the header lines of responses that depend on the head alone
    writers   what writes the others
    front     what the backend receives of it, as `front_format` returns it; None until it was sent once
    front_of  (whole answers are asked for, names of the fields that were put in, tracestate goes on), which `front`
              depends on
    site      as `other_site` returns it
    claims    it makes claims of identity, which are counted each time
    size      its bytes, about
    """

    __slots__ = (
        "claims",
        "framing",
        "front",
        "front_of",
        "head",
        "keep",
        "length",
        "organization",
        "origin",
        "places",
        "public_host",
        "route",
        "said",
        "secure",
        "site",
        "size",
        "trusted",
        "user",
        "writers",
    )

    def __init__(self, exchange: Exchange, route: Route, framing: int, keep: bool, places: dict[bytes, int]) -> None:
        self.head = exchange.head
        self.places = places
        self.framing = framing
        self.length = exchange.head.index.get(b"content-length", b"")
        self.route = route
        self.keep = keep
        self.secure = exchange.secure
        self.public_host = exchange.public_host
        self.trusted = exchange.client.trusted
        self.organization = exchange.organization
        self.user = exchange.user
        self.origin = exchange.origin
        self.site = other_site(exchange)
        self.said = b""
        self.writers: tuple[HeaderWriter, ...] = tuple(each for each in route.header_writers if not by_head(each))
        self.front: FrontFormat | None = None
        self.front_of: tuple[object, ...] = ()
        self.claims = False
        self.size = 0

    def filled(self, values: Values, length: bytes) -> RequestHead:
        """Return the head with the values that it came with this time."""
        head = self.head
        if not values and length == self.length:
            return head
        index, lines = head.index.copy(), head.lines
        if values:
            lines = lines.copy()
            places = self.places
            for name, value, line in values:
                index[name] = value
                lines[places[name]] = (name, line)
        if length:
            index[b"content-length"] = length
        return RequestHead(head.method, head.target, head.path, head.version, lines, index)

    def begin(self, exchange: Exchange) -> bool:
        """Put on the exchange of a request with this head what the settled guards do, those of varying fields asked.

        Return whether it may go on from there; if not, it has to be admitted like one whose head is not known.
        """
        head = exchange.head
        exchange.route = self.route.name
        exchange.organization = self.organization
        exchange.user = self.user
        exchange.origin = self.origin
        for step in self.route.varying_steps:
            assert step.settled is not None
            if not step.settled(exchange):
                return False
        # What the other settled guards went by, besides the head.
        return (
            exchange.secure is self.secure
            and exchange.client.trusted is self.trusted
            and exchange.public_host == self.public_host
            and exchange.head is head
        )


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
        self._marks: list[tuple[bytes, bytes]] = []  # lower-case name, and how its line begins
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

    def read(self, raw: bytes, policy: Policy, secure: bool) -> ReadHead:
        """Return a complete head, blank line included; raise Malformed when it has no single reading."""
        if policy is not self._policy:
            self._forget(policy)
        values: Values = []
        rest, length, plain = raw, b"", True
        for name, mark in self._marks:
            at = rest.find(mark)
            if at < 0:
                continue
            at += len(mark)
            end = rest.find(b"\r", at)
            value = rest[at:end]
            if name == b"content-length":
                plain = value.isdigit() and len(value) <= _MOST_DIGITS and not length
                length = value
            else:
                plain = is_plain(value)
                values.append((name, value, mark[2:] + value))
            if not plain:
                return self._read(raw, policy)
            rest = rest[:at] + rest[end:]
        if len(raw) - 4 > policy.bounds.max_header_bytes:
            raise head_too_large(raw, policy.bounds.max_target)
        key = (secure, rest)
        known = self._young.get(key)
        if known is None:
            known = self._old.get(key)
            if known is None:
                return self._new(raw, key, policy)
            if not self._full:
                del self._old[key]
                self._hold(key, known)
        framing = int(length) if length else known.framing
        return ReadHead(known.filled(values, length), framing, known)

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
        if self._marked(read.head, policy):
            return self.read(raw, policy, key[0])  # now without what varies
        mark = hash(key)
        if mark not in self._seen:
            if len(self._seen) >= SEEN:
                self._seen.clear()
            self._seen.add(mark)
        elif len(read.head.lines) == len(read.head.index) and NEVER.isdisjoint(read.head.index):
            # No name occurs twice: what was left out of the key are the values of each field's only line.
            read.key = key
        return read

    def _marked(self, head: RequestHead, policy: Policy) -> bool:
        """Look for the head's varying fields from now on; return whether there are any that were not looked for."""
        found = False
        for name, line in head.lines:
            if name in policy.varying or name == b"content-length":
                mark = b"\r\n" + line[: len(name) + 2]
                if mark.endswith(b": ") and len(self._marks) < MOST_MARKS and (name, mark) not in self._marks:
                    self._marks.append((name, mark))
                    found = True
        if found:
            # Of heads that are known, the keys had these values in them.
            self._begin()
        return found

    def keep(self, read: ReadHead, exchange: Exchange, route: Route, policy: Policy, *, reusable: bool) -> None:
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
        trial.head, places, own = self._shared(trial.head, policy.varying)
        known = KnownHead(trial, route, read.framing, reusable, places)
        said = b"".join([writer.lines(trial) for writer in route.header_writers if by_head(writer)])
        known.said = self._said.get(said) or self._said.remember(said, said, len(said))
        size = 2 * (len(read.key[1]) + len(trial.head.target))
        known.size = _OVERHEAD + size + _FIELD * len(trial.head.lines) + own
        self._hold(read.key, known)

    def _shared(self, head: RequestHead, varying: frozenset[bytes]) -> tuple[RequestHead, dict[bytes, int], int]:
        """Return the same head without the values that vary, and made of lines that other heads have, too; the
        places of its varying fields; and the bytes of lines that no other head has.
        """
        lines: Fields = []
        index, places, known, own = {}, {}, self._lines, 0
        for number, pair in enumerate(head.lines):
            name, line = pair
            if name in varying and (name, b"\r\n" + line[: len(name) + 2]) in self._marks:
                lines.append((name, b""))
                index[name] = b""
                places[name] = number
                continue
            found = known.get(line)
            if found is None or found[0][0] != name:
                size = 2 * len(line) + _OWN
                own += size
                found = known.remember(line, (pair, head.index[name]), size)
            lines.append(found[0])
            index[name] = found[1]
        return RequestHead(head.method, head.target, head.path, head.version, lines, index), places, own

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
        """Another policy decides: forget all heads, and what is looked for in them."""
        self._policy = policy
        self._marks.clear()
        self._begin()

    def _begin(self) -> None:
        """Forget all heads."""
        self._young.clear()
        self._old.clear()
        self._seen.clear()
        self._share()
        self._held, self._full = 0, False


def is_plain(value: bytes) -> bool:
    """Return whether no reader can take a field's value, as it stands after `: `, for anything else: visible ASCII,
    with blanks inside at most. The parser and the strict rules read other values.
    """
    text = value.decode("latin-1")
    return text.isascii() and text.isprintable() and text != "" and text[0] != " " and text[-1] != " "


def by_head(writer: HeaderWriter) -> bool:
    """Return whether a header writer's lines depend on the request's head and the policy alone."""
    return getattr(writer, "by_head", False)


def other_site(exchange: Exchange) -> str:
    """Return the Origin of a page that another site serves, "" for one of the request's own host or for none."""
    origin = exchange.origin
    if origin is None or origin.endswith(b"://" + exchange.host):
        return ""
    return origin.decode("latin-1")
