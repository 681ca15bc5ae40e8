"""The cookies that a backend sets, hardened where they do not say otherwise. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.errors import Problems

MALFORMED = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 6265bis §5.6: such a line is dropped
SAME_SITE: Final = frozenset({b"strict", b"lax", b"none"})
PREFIXES: Final = (b"__secure-", b"__host-")

READABLE: Final = (b"csrf", b"xsrf")
"""Parts of a name that make a cookie one for page scripts: they read it and send its value back in a header."""

READABLE_NAMES: Final = frozenset({b"next_locale"})
"""Cookies that scripts of a widely used framework read: Next.js' choice of language."""


@dataclass(frozen=True, slots=True)
class CookieRules:
    """What the cookies of a backend get on their way to browsers.

    readable     lower-case names that page scripts read, besides READABLE and READABLE_NAMES
    same_site    `keep`: what the backend says, else Lax; `lax`: None becomes Lax; `none`: None for all
    partitioned  all are `SameSite=None; Partitioned` (CHIPS): a page in a frame of another site keeps them
    """

    readable: frozenset[bytes] = frozenset()
    same_site: str = "keep"
    partitioned: bool = False

    @property
    def embeddable(self) -> bool:
        """Whether browsers send the cookies from a page in a frame of another site."""
        return self.partitioned or self.same_site == "none"

    def __call__(self, line: bytes, secure: bool) -> bytes | None:
        return harden_set_cookie(line, secure, self)


DEFAULT: Final = CookieRules()


def build_cookie_rules(readable: Sequence[str], same_site: str, partitioned: bool, problems: Problems) -> CookieRules:
    """Build the rules; `problems` is at `cookies`."""
    if partitioned and same_site == "lax":
        problems.at("same_site").add(
            "keeps cookies out of frames, where partitioned is for", "write same_site: none, or partitioned: false"
        )
    return CookieRules(frozenset(name.lower().encode() for name in readable), same_site, partitioned)


def harden_set_cookie(line: bytes, secure: bool, rules: CookieRules = DEFAULT) -> bytes | None:
    """Return the value of a Set-Cookie line with what it lacks, or None for a line that must not pass.

    secure  the public scheme is https

    * `Secure` is added over https; also where the cookie is rejected without it: `SameSite=None`, and
      the prefixes `__Host-` and `__Secure-`. Never otherwise: over http it would lose the cookie.
    * `HttpOnly` is added, but not to cookies that are there to be read.
    * `SameSite=Lax` is added where nothing valid is said. Of several, the last one counts for browsers.
      What the rules say takes the place of all of them.
    * A line without a name or with control characters is dropped: browsers disagree about what it
      means, and a nameless one can pass for a prefixed one.
    """
    pair, *attributes = line.split(b";")
    name, separator, _ = pair.partition(b"=")
    name = name.strip()
    if not separator or not name or MALFORMED.search(line):
        return None
    said = _attributes(attributes)
    lowered = name.lower()
    same_site = said.get(b"samesite", b"").lower()
    wanted = b"" if same_site in SAME_SITE else b"lax"
    if rules.embeddable:
        wanted = b"none"
    elif rules.same_site == "lax" and same_site == b"none":
        wanted = b"lax"
    additions = b""
    if wanted and wanted != same_site:
        line = b";".join(
            [pair, *(each for each in attributes if same_site not in SAME_SITE or not _is(each, b"samesite"))]
        )
    if b"secure" not in said and (secure or (wanted or same_site) == b"none" or lowered.startswith(PREFIXES)):
        additions += b"; Secure"
    if b"httponly" not in said and not is_readable(lowered, rules):
        additions += b"; HttpOnly"
    if wanted and wanted != same_site:
        additions += b"; SameSite=" + wanted.capitalize()
    if rules.partitioned and b"partitioned" not in said:
        additions += b"; Partitioned"
    return line.rstrip(b"; \t") + additions if additions else line


def is_readable(lowered: bytes, rules: CookieRules) -> bool:
    """Return whether page scripts are meant to read the cookie of this lower-case name."""
    plain = lowered.removeprefix(b"__secure-").removeprefix(b"__host-")
    return (
        any(part in plain for part in READABLE)
        or plain in READABLE_NAMES
        or lowered in rules.readable
        or plain in rules.readable
    )


def _is(attribute: bytes, name: bytes) -> bool:
    return attribute.partition(b"=")[0].strip().lower() == name


def _attributes(parts: list[bytes]) -> dict[bytes, bytes]:
    """Return lower-case name → value; the last of a name counts (RFC 6265bis §5.7)."""
    pairs = (part.partition(b"=") for part in parts)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
