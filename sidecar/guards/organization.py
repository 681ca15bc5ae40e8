"""Which organization and which user a request belongs to: from a token, a trusted proxy or the host."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from sidecar.bounded_cache import BoundedCache
from sidecar.decision import PASS, Decision
from sidecar.errors import Problems
from sidecar.exchange import Exchange
from sidecar.guards.host import HOST, without_port
from sidecar.services import Verify

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
JWT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
LONGEST_TOKEN: Final = 8192
LONGEST_USER: Final = 128
CACHED: Final = 1024 * 1024
"""Bytes of tokens' digests, with what the tokens said, that are remembered."""
REMEMBERED: Final = 60.0
"""Seconds for which a verified token is not verified again: as long as a withdrawn key goes on working."""

TUPLE: Final = 220
"""Bytes of the objects that hold one token's words."""

SOURCES: Final = ("token", "header", "host")

Known: TypeAlias = tuple[str, str, float]
"""The claims of a token: organization, user, and until when they may be used."""

NOTHING: Final[Known] = ("", "", 0.0)


def build_organization(
    sources: Sequence[str],
    hosts: Mapping[str, str],
    default: str,
    problems: Problems,
    *,
    verify: Verify | None = None,
) -> OrganizationGuard:
    """Build the guard; `problems` is at `organizations`. Without `verify` no token counts."""
    for number, source in enumerate(sources):
        if source not in SOURCES:
            problems.at(f"from[{number}]").add(f"{source!r} is not a source", f"write {', '.join(SOURCES)}")
    table = {}
    for host, organization in hosts.items():
        place = problems.at(f"hosts.{host}")
        if HOST.fullmatch(host.lower()) is None or host.startswith("*"):
            place.add(f"{host!r} is not a host", "write chat.example.com")
        _name(organization, place)
        table[host.lower().encode()] = organization
    _name(default, problems.at("default"))
    return OrganizationGuard(tuple(sources), table, default, verify)


def _name(organization: str, problems: Problems) -> None:
    if NAME.fullmatch(organization) is None:
        problems.add(f"{organization!r} is not a name", "write up to 64 letters, digits, dots and hyphens")


class OrganizationGuard:
    """Set `exchange.organization` from the first source that names one, and `exchange.user` from the token.

    A client chooses neither: a token counts when it verifies, a header when a trusted proxy sent it,
    a host when the policy maps it. Other values are ignored, not refused: a bearer token may belong
    to the backend.
    """

    name = "organization"

    def __init__(
        self, sources: tuple[str, ...], hosts: Mapping[bytes, str], default: str, verify: Verify | None
    ) -> None:
        self._sources = sources
        self._hosts = hosts
        self._default = default
        self._verify = verify if "token" in sources else None
        self._tokens: BoundedCache[bytes, Known] = BoundedCache(CACHED)

    def check(self, exchange: Exchange) -> Decision:
        """Set organization and user; a request that names no organization gets the default. Always passes."""
        index = exchange.head.index
        if not self._hosts and b"authorization" not in index and b"x-org-id" not in index:
            exchange.organization = self._default
            return PASS
        token = self._token(exchange) if self._verify is not None else NOTHING
        exchange.user = token[1]
        exchange.organization = self._named(exchange, token[0]) or self._default
        return PASS

    def settled(self, exchange: Exchange) -> bool:
        """Return whether every request with this head passes (`SettledGuard`); a token expires."""
        return self.check(exchange) is PASS and (self._verify is None or b"authorization" not in exchange.head.index)

    def _named(self, exchange: Exchange, by_token: str) -> str:
        index = exchange.head.index
        for source in self._sources:
            found = ""
            if source == "token":
                found = by_token
            elif source == "header" and exchange.client.trusted:
                found = _well_formed(index.get(b"x-org-id", b"").decode("latin-1"))
            elif source == "host" and self._hosts:
                host = exchange.host.lower()
                found = self._hosts.get(host) or self._hosts.get(without_port(host), "")
            if found:
                return found
        return ""

    def _token(self, exchange: Exchange) -> Known:
        value = exchange.head.index.get(b"authorization", b"")
        scheme, _, token = value.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or len(token) > LONGEST_TOKEN or JWT.fullmatch(token) is None:
            return NOTHING
        # The digest, not the token: a table of live tokens would be worth stealing.
        digest = hashlib.sha256(token).digest()
        known = self._tokens.get(digest)
        if known is None or known[2] <= exchange.now:
            said = self._read(token, exchange.now)
            known = self._tokens.remember(digest, said, len(digest) + len(said[0]) + len(said[1]) + TUPLE)
        return known

    def _read(self, token: bytes, now: float) -> Known:
        claims = self._verify(token) if self._verify is not None else None
        expires = claims.get("exp") if claims is not None else None
        until = min(now + REMEMBERED, float(expires)) if isinstance(expires, int | float) else now + REMEMBERED
        if claims is None or until <= now:
            return ("", "", now + 1.0)
        return (_well_formed(claims.get("org")), _user(claims.get("sub")), until)


def _well_formed(value: object) -> str:
    return value if isinstance(value, str) and NAME.fullmatch(value) else ""


def _user(value: object) -> str:
    """Return the subject as a bounded key: long or odd ones by their hash."""
    if not isinstance(value, str) or not value:
        return ""
    # Limits use "ip:…" for a client without a user: no user may have such a name.
    plain = len(value) <= LONGEST_USER and value.isascii() and value.isprintable() and not value.startswith("ip:")
    return value if plain else "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
