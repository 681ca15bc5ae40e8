"""The cookies that a backend sets, hardened where they do not say otherwise. Pure."""

from __future__ import annotations

import re
from typing import Final

MALFORMED = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 6265bis §5.6: such a line is dropped
SAME_SITE: Final = frozenset({b"strict", b"lax", b"none"})
PREFIXES: Final = (b"__secure-", b"__host-")

READABLE: Final = frozenset({b"xsrf-token", b"csrftoken", b"_xsrf"})
"""Cookies whose whole purpose is that a page reads them and sends their value back in a header."""


def harden_set_cookie(line: bytes, secure: bool) -> bytes | None:
    """Return the value of a Set-Cookie line with what it lacks, or None for a line that must not pass.

    secure  the public scheme is https

    * `Secure` is added over https; also where the cookie is rejected without it: `SameSite=None`, and
      the prefixes `__Host-` and `__Secure-`. Never otherwise: over http it would lose the cookie.
    * `HttpOnly` is added, but to the token cookies that are there to be read.
    * `SameSite=Lax` is added where nothing valid is said. Of several, the last one counts for browsers.
    * A line without a name or with control characters is dropped: browsers disagree about what it
      means, and a nameless one can pass for a prefixed one.
    """
    pair, *attributes = line.split(b";")
    name, separator, _ = pair.partition(b"=")
    name = name.strip()
    if not separator or not name or MALFORMED.search(line):
        return None
    said = _attributes(attributes)
    same_site = said.get(b"samesite", b"").lower()
    lowered = name.lower()
    additions = b""
    if b"secure" not in said and (secure or same_site == b"none" or lowered.startswith(PREFIXES)):
        additions += b"; Secure"
    if b"httponly" not in said and lowered not in READABLE:
        additions += b"; HttpOnly"
    if same_site not in SAME_SITE:
        additions += b"; SameSite=Lax"
    return line.rstrip(b"; \t") + additions if additions else line


def _attributes(parts: list[bytes]) -> dict[bytes, bytes]:
    """Return lower-case name → value; the last of a name counts (RFC 6265bis §5.7)."""
    pairs = (part.partition(b"=") for part in parts)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
