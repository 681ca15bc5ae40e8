"""The session id that a client presents: where it is, what it must look like, and that there is one only."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sidecar.decision import PASS, Decision, Finding, Pass, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.head import RequestHead
from sidecar.session import key_of
from sidecar.vocabulary import Code

Shape: TypeAlias = Callable[[str], bool]
"""Text → whether it has the form of a session id."""

SHAPE = re.compile(r"[A-Za-z0-9._~+/=-]{22,256}")
"""22 characters of 6 bits hold 128 bits, which cannot be guessed."""

HEX = re.compile(r"[0-9a-fA-F-]+")
SMALLEST_HEX: Final = 32
"""Digits of 4 bits, hyphens not counted: a UUID has just as many."""

HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


def is_well_formed(session_id: str) -> bool:
    """Return whether an id can hold 128 bits and has no special character of headers, URLs or shells."""
    if SHAPE.fullmatch(session_id) is None:
        return False
    return len(session_id) - session_id.count("-") >= SMALLEST_HEX or HEX.fullmatch(session_id) is None


@dataclass(frozen=True)
class SessionIdSources:
    """Where ids are looked for: lower-case header names, cookie names, and paths into JSON bodies."""

    headers: tuple[bytes, ...] = ()
    cookies: tuple[bytes, ...] = ()
    body: tuple[str, ...] = ()


def build_session_id_sources(texts: Sequence[str], problems: Problems) -> SessionIdSources:
    """Read `header:NAME`, `cookie:NAME`, `body:PATH`; `problems` is at `sessions.in`."""
    headers, cookies, body = [], [], []
    for number, text in enumerate(texts):
        place = problems.at(f"[{number}]")
        kind, _, name = text.partition(":")
        if kind == "header" and HEADER_NAME.fullmatch(name):
            headers.append(name.lower().encode())
        elif kind == "cookie" and COOKIE_NAME.fullmatch(name):
            cookies.append(name.encode())
        elif kind == "body" and name.startswith("$"):
            body.append(name)
        else:
            place.add(
                f"{text!r} is not a place", "write header:X-Session-ID, cookie:__Host-session or body:$.sessionId"
            )
    if not texts:
        problems.add("names no place, so that no session could be presented", "write [header:X-Session-ID]")
    return SessionIdSources(tuple(headers), tuple(cookies), tuple(body))


class SessionIdGuard:
    """Set `exchange.session_id` and `session_key` from the head; refuse malformed and differing ids.

    One request names one session. A header for the sidecar and another id for the backend would let
    a client use one session to reach the other's conversations. `shape` is the form of an id
    (the backend's own, where its sessions are learned); `forgives` names requests that go on without
    their bad id, and `strips` that the backend does not see it then.
    """

    name = "session_id"
    varying = True

    def __init__(
        self,
        places: SessionIdSources,
        shape: Shape = is_well_formed,
        *,
        forgives: Callable[[Exchange], bool] | None = None,
        strips: bool = True,
    ) -> None:
        self.places = places
        self._shape = shape
        self._forgives = forgives
        self._strips = strips

    def check(self, exchange: Exchange) -> Decision:
        """Read the id from header or cookie; refuse with 400 a malformed id and two different ones."""
        refusal = self._read(exchange)
        if refusal is None:
            return PASS
        if self._forgives is not None and self._forgives(exchange):
            return self.forgive(exchange, refusal)
        return refusal

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`)."""
        return self._read(exchange) is None

    def forgive(self, exchange: Exchange, refusal: Refuse) -> Pass:
        """Let a request go on without a session: the id that it presented is removed.

        A page must load for a person whose cookie has expired; the backend must not accept that id.
        """
        findings: tuple[Finding, ...] = ()
        if refusal.code is Code.INVALID_SESSION_ID and refusal.recorded is not None:
            findings = (Finding(refusal.recorded, {**refusal.detail, "used": False}),)
        if self._strips:
            strip(exchange, self.places)
        return Pass(findings)

    def _read(self, exchange: Exchange) -> Refuse | None:
        index = exchange.head.index
        for name in self.places.headers:
            value = index.get(name)
            if value is not None:
                refusal = self.present(exchange, value.decode("latin-1"), "header")
                if refusal is not None:
                    return refusal
        cookies = index.get(b"cookie") if self.places.cookies else None
        if cookies is not None:
            for value in presented(cookies, self.places.cookies):
                refusal = self.present(exchange, value.decode("latin-1"), "cookie")
                if refusal is not None:
                    return refusal
        return None

    def present(self, exchange: Exchange, session_id: str, place: str) -> Refuse | None:
        """Take an id that was found (`place`: header, cookie, body), or say why not. An empty one is none."""
        if not session_id or session_id == exchange.session_id:
            return None
        if not self._shape(session_id):
            return Refuse(Code.INVALID_SESSION_ID, {"reason": "format", "place": place})
        if exchange.session_id:
            return Refuse(Code.INVALID_SESSION_ID, {"reason": "two different ids", "place": place})
        exchange.session_id = session_id
        exchange.session_key = key_of(session_id)
        return None


def presented(cookies: bytes, names: Sequence[bytes]) -> list[bytes]:
    """Return the values of the named cookies, in order, each as often as it is there."""
    pairs = (part.strip().partition(b"=") for part in cookies.split(b";"))
    return [value.strip(b'"') for name, separator, value in pairs if separator and name in names]


def strip(exchange: Exchange, places: SessionIdSources) -> None:
    """Take every id of a session out of a request's head, other cookies left as they came."""
    head, names, cookies = exchange.head, places.headers, places.cookies
    kept = []
    for key, line in head.lines:
        if key in names:
            continue
        if key == b"cookie" and cookies:
            rest = without(line.partition(b":")[2], cookies)
            if rest:
                kept.append((key, b"Cookie: " + rest))
            continue
        kept.append((key, line))
    index = {key: value for key, value in head.index.items() if key not in names}
    if cookies and b"cookie" in index:
        rest = without(index.pop(b"cookie"), cookies)
        if rest:
            index[b"cookie"] = rest
    # Another head: the one that was read may serve further requests.
    exchange.head = RequestHead(head.method, head.target, head.path, head.version, kept, index)
    exchange.session_id = exchange.session_key = ""


def without(cookies: bytes, names: Sequence[bytes]) -> bytes:
    """Return a Cookie field's value without the named ones."""
    parts = [part for part in cookies.split(b";") if part.partition(b"=")[0].strip() not in names]
    return b";".join(parts).strip()
