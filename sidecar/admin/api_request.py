"""One call of the admin API: the caller, the endpoint, the parameters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from aiohttp import web

from sidecar.admin.ports import Ports
from sidecar.admin.refusal import invalid, refuse
from sidecar.admin.roles import UNAUTHENTICATED, Grant, Role
from sidecar.secret import Secret
from sidecar.vault.models import Actor
from sidecar.vocabulary import Code

MAX_BODY: Final = 64 * 1024
BODY_TIMEOUT: Final = 10.0
MAX_PAGE: Final = 500

T = TypeVar("T", str, int, float, bool)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What an endpoint answers: JSON, and the facts that its record carries."""

    value: Any
    status: int = 200
    facts: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(slots=True)
class ApiRequest:
    """A call, and what becomes known of it. Endpoints see it when its token was verified and its role suffices."""

    parts: Ports
    request: web.BaseRequest
    request_id: str
    peer: str
    path: str  # for the record; the API's own pattern once it is known: a name in its place may be a session's id
    grant: Grant = UNAUTHENTICATED  # dispatch
    action: str = "unknown"  # dispatch
    names: Mapping[str, str] = field(default_factory=dict)  # dispatch, from the path
    subject: str = ""  # what it is about, for the record; the endpoint
    organization: str = ""  # whose it is, for the record; the endpoint
    audited: bool = False  # dispatch: the vault has written down itself what it refused

    @property
    def actor(self) -> Actor:
        """The caller as the audit log names it: subject of the token, address and request id."""
        return Actor(self.grant.actor, self.peer, self.request_id)

    async def note(self) -> None:
        """Write into the audit log what is about to be done: nothing is done without its entry.

        Raises StoreUnavailable. The vault does this itself for what it changes.
        """
        journal = self.parts.journal
        if journal is not None:
            await journal.record(self.actor, self.action, "done", self.organization, self.subject)

    def scope(self, wanted: str | None) -> str | None:
        """Return the one organization that a list shows, None for all; Refused when it is not the caller's."""
        if wanted is None:
            return self.grant.organization
        return self.within(wanted)

    def within(self, organization: str) -> str:
        """Return an organization that the caller may touch, or raise Refused."""
        self.organization = organization
        if not self.grant.covers(organization):
            raise refuse(Code.FORBIDDEN, "The token is for another organization", reason="organization")
        return organization

    def needs_all(self) -> None:
        """Refuse a caller of one organization: this concerns all organizations."""
        if self.grant.organization is not None:
            raise refuse(Code.FORBIDDEN, "This needs a token for all organizations", reason="organization")

    def text(self, name: str) -> str | None:
        """Return a query value."""
        return self.request.query.get(name)

    def number(self, name: str, otherwise: int, least: int, most: int) -> int:
        """Return a whole number of the query within bounds."""
        text = self.request.query.get(name)
        if text is None:
            return otherwise
        if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= most):
            raise invalid(f"`{name}` is a number from {least} to {most}")
        return int(text)

    async def body(self) -> Body:
        """Return the JSON object of the request, or raise Refused."""
        if self.request.content_type != "application/json":
            raise refuse(Code.UNSUPPORTED_MEDIA_TYPE, "The body is JSON: send Content-Type: application/json")
        try:
            raw = await asyncio.wait_for(self.request.read(), BODY_TIMEOUT)
        except TimeoutError:
            raise refuse(Code.REQUEST_TIMEOUT) from None
        except web.HTTPRequestEntityTooLarge:
            raise refuse(Code.BODY_TOO_LARGE) from None
        try:
            value = json.loads(raw, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            raise invalid("The body is not JSON, or names a key twice") from None
        if not isinstance(value, dict):
            raise invalid("The body is a JSON object")
        return Body(value)


class Body:
    """A JSON object, read key by key; `done` refuses the keys that were not read."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def text(self, name: str, most: int = 1024) -> str:
        """Return a string that must be there."""
        value = self.optional(name, str)
        if not value or len(value) > most or not value.isprintable():
            raise invalid(f"`{name}` is a text of 1 to {most} printable characters")
        return value

    def secret(self, name: str, most: int = 16 * 1024) -> Secret:
        """Return a secret that must be there."""
        value = self._values.pop(name, None)
        if not isinstance(value, str) or not value or len(value) > most:
            raise invalid(f"`{name}` is a text of 1 to {most} characters")
        return Secret(value)

    def optional(self, name: str, kind: type[T]) -> T | None:
        """Return a value of one type, or None when it is missing or null."""
        value = self._values.pop(name, None)
        if value is None:
            return None
        if type(value) is not kind:  # exactly: True is no number
            raise invalid(f"`{name}` is a {_KINDS[kind]}")
        return value

    def texts(self, name: str, most: int = 32) -> tuple[str, ...] | None:
        """Return a list of strings, or None when it is missing or null."""
        value = self._values.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > most or not all(isinstance(item, str) for item in value):
            raise invalid(f"`{name}` is a list of at most {most} texts")
        return tuple(value)

    def moment(self, name: str) -> float | None:
        """Return a date as epoch seconds: a number, or ISO 8601 with its offset; None when missing or null."""
        value = self._values.pop(name, None)
        if value is None:
            return None
        try:
            if isinstance(value, str):
                date = datetime.fromisoformat(value)
                if date.tzinfo is not None:
                    return date.timestamp()
            elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
                return float(value)
        except (ValueError, OverflowError):
            pass  # refused below, as every other value that is no date
        raise invalid(f"`{name}` is a date like 2027-01-31T12:00:00Z, or seconds since 1970")

    def has(self, name: str) -> bool:
        """Return whether the object has this key; null counts."""
        return name in self._values

    def raw(self, name: str) -> Any:
        """Return a value as it came, or None."""
        return self._values.pop(name, None)

    def done(self) -> None:
        """Refuse unknown keys: a misspelt one must not look as if it had worked."""
        if self._values:
            raise invalid(f"unknown: {', '.join(sorted(self._values))[:200]}")


_KINDS: Final[Mapping[type, str]] = {str: "text", int: "whole number", float: "number", bool: "true or false"}

Handler = Callable[[ApiRequest], Awaitable[ApiResponse | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the API's table.

    action   what the record calls it (`ban.lift`)
    recorded an ADMIN_ACTION is recorded when it is done (not for what a console asks every few seconds);
             refusals always are
    """

    method: str
    path: str
    role: Role
    action: str
    handler: Handler
    recorded: bool = True


def iso(seconds: float | None) -> str | None:
    """Return epoch seconds as ISO 8601 UTC with milliseconds, None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
