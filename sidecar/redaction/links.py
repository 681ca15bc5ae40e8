"""Links and images in answers that lead to hosts which the policy does not list.

A page that renders an answer as Markdown or HTML loads its images at once: a model that was told to may send
what it knows to a host of an attacker in the path or query of an image. Only what a renderer follows is looked
at: Markdown links, images and definitions, autolinks in angle brackets, and the attributes and styles of HTML.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from sidecar.redaction.scanner import Hit

MAX_URL: Final = 2048
"""Bytes of a URL that are waited for; a longer one is judged by these."""
LINK: Final = "link"
IMAGE: Final = "image"
_REMOVED: Final = b"about:blank#removed"
_LOOK_BACK: Final = 512  # bytes before a URL in which its `![` or its attribute is looked for
_TWO_SLASHES: Final = 2
_HOST_WITHIN: Final = 1024
_REMEMBERED: Final = 256  # names in other scripts, which take long to read
_SECRETIVE: Final = 24  # characters of a query or path segment that may carry data out …
_ENTROPY: Final = 3.6  # … with so many bits each

_OPEN: Final = re.compile(
    rb"\]\([ \t\r\n]{0,8}<?"  # [text](URL), ![text](<URL>)
    rb"|\]:[ \t]{0,8}(?:\r?\n[ \t]{0,8})?<?"  # [name]: URL
    rb"|<(?=[A-Za-z][A-Za-z0-9+.-]{1,11}(?::|\Z)|[A-Za-z]{1,6}\Z)"  # <URL>
    rb"|(?<![\w-])(?P<name>src|href|srcset|imagesrcset|poster|data|background|action|formaction|ping|cite)"
    rb"[ \t\r\n]{0,8}=[ \t\r\n]{0,8}(?:\\*[\"'])?[ \t\r\n]{0,8}"
    rb"|url\([ \t\r\n]{0,8}(?:\\*[\"'])?[ \t\r\n]{0,8}"
    rb"|@import[ \t\r\n]{1,8}\\*[\"'][ \t\r\n]{0,8}"
    rb"|,[ \t\r\n]{0,8}(?=(?:https?:)?[/\\]{2}|(?:h(?:t(?:t(?:p(?:s?:?)?)?)?)?)?[/\\]?\Z)",  # a further one of a srcset
    re.IGNORECASE,
)
_URL: Final = re.compile(rb"[^ \t\r\n\"'<>()`\[\]{}|^\x00-\x1f]*")
_LINKS: Final = frozenset((b"href", b"action", b"formaction", b"cite"))
_AUTHORITY: Final = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*):)?(?P<slashes>[/\\]*)(?P<host>[^/\\?#]*)", re.IGNORECASE
)
_NAMES_HOST: Final = re.compile(rb"[/\\:&]")
_UNFINISHED: Final = re.compile(rb"(?:&[#\w]{0,31}|\\(?:u[0-9a-fA-F]{0,3})?)\Z")
_FETCHED: Final = frozenset(("http", "https", "ws", "wss", "ftp"))
_SUSPECT: Final = re.compile(
    rb"\]\(|\]:|<[A-Za-z]|(?:src|href|srcset|poster|data|ground|action|ping|cite)[ \t\r\n]{0,8}=|url\(|@import",
    re.IGNORECASE,
)


class OnOther(Enum):
    """What becomes of a link to a host that is not listed."""

    OBSERVE = "observe"
    DEFANG = "defang"
    REMOVE = "remove"


class Found(NamedTuple):
    """A link to a host that is not listed; `secretive`: its path or query looks like encoded data."""

    host: str
    kind: str
    secretive: bool


class AllowedHosts:
    """Hosts by name; `*.example.com` is every host below example.com, `*` every host."""

    __slots__ = ("_below", "_every", "_names")

    def __init__(self, hosts: Iterable[str]) -> None:
        hosts = [host.lower().rstrip(".") for host in hosts]
        self._names = frozenset(hosts)
        self._every = "*" in self._names
        self._below = tuple(host[1:] for host in hosts if host.startswith("*."))

    def __contains__(self, host: str) -> bool:
        return self._every or host in self._names or host.endswith(self._below)


class LinkScanner:
    """Find links to other hosts than the listed ones. Keeps what it found until `take` is called.

    A text is live from a URL on whose host, or whose end where it is removed, may still come.
    """

    known = None
    framing = False
    """What it looks for is in texts, not in what frames them: half a URL in a record is none."""
    __slots__ = ("_found", "_images", "_links", "_on_other", "_own", "reach")

    def __init__(self, links: AllowedHosts, images: AllowedHosts, own: str, on_other: OnOther) -> None:
        self._links = links
        self._images = images
        self._own = own
        self._on_other = on_other
        self._found: list[Found] = []
        self.reach = MAX_URL

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return hits over the URLs that lead to other hosts, and where the text is live; see Scanner."""
        joined = before + text if before else text
        behind, size = len(before), len(joined)
        hits: list[Hit] = []
        judged = 0
        for opened in _OPEN.finditer(joined):
            start = opened.end()
            if start < judged or (opened.group()[:1] == b"," and not _is_in_srcset(joined, opened.start())):
                continue
            url = _URL.match(joined, start, start + MAX_URL)
            end = url.end() if url is not None else start
            judged = end
            open_end = end == size and end - start < MAX_URL and not final
            if (start == size and not final) or _is_judged(joined[start:behind]):
                continue
            if not open_end and _NAMES_HOST.search(joined, start, end) is None:
                continue
            raw = joined[start:end].rstrip(b"\\")
            host = named_host(raw, whole=not open_end)
            if host is None:
                if open_end:
                    return hits, max(0, start - behind)
                continue
            kind = _kind(joined, opened)
            if host in ("", self._own) or host in (self._images if kind is IMAGE else self._links):
                continue
            if open_end and self._on_other is OnOther.REMOVE:
                return hits, max(0, start - behind)
            hits += self._hit(raw, start - behind, Found(host, kind, is_secretive(raw)))
        return hits, len(text)

    def _hit(self, raw: bytes, start: int, found: Found) -> list[Hit]:
        if len(self._found) < MAX_URL:
            self._found.append(found)
        # Where the first letters have passed already, the rest makes another scheme of them.
        removed, scheme = (_REMOVED, b"hxxp:") if start >= 0 else (b"xp:removed", b"xp:")
        rest = raw[max(0, -start) :]
        start = max(0, start)
        shown = removed if self._on_other is OnOther.REMOVE else scheme + rest
        return [Hit(start, start + len(rest), found.kind, shown)] if rest else []

    @property
    def observes(self) -> bool:
        """Whether what is found passes."""
        return self._on_other is OnOther.OBSERVE

    def take(self) -> list[Found]:
        """Return what was found since the last call."""
        found, self._found = self._found, []
        return found


def may_link(text: bytes) -> bool:
    """Return whether a text may hold a link."""
    return _SUSPECT.search(text) is not None


def named_host(raw: bytes, *, whole: bool) -> str | None:
    """Return the host that a URL leads to, as browsers read it; "" for a place of the same host.

    None while `whole` is False and the host may go on.
    """
    if not whole and _UNFINISHED.search(raw) is not None:
        return None
    url = raw[:_HOST_WITHIN].decode("utf-8", "replace")
    if "&" in url or "\\" in url:
        url = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), html.unescape(url))
    url = re.sub(r"[\x00-\x20]", "", url)
    # A backslash may escape (Markdown, JSON) or stand for a slash (HTML): the first reading that names a host counts.
    for reading in (re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", url), url) if "\\" in url else (url,):
        found = _AUTHORITY.match(reading)
        assert found is not None
        scheme, slashes, host = found["scheme"], found["slashes"], found["host"]
        if not whole and found.end() == len(reading):
            return None
        if scheme.lower() in _FETCHED if scheme is not None else len(slashes) >= _TWO_SLASHES:
            return _name(host)
    return ""


def _name(host: str) -> str:
    host = unquote(host).rpartition("@")[2]
    host = host if host.startswith("[") else host.partition(":")[0]
    host = host.strip().rstrip(".").lower()
    return host[:253] or "?" if host.isascii() else _in_ascii(host)


@lru_cache(_REMEMBERED)
def _in_ascii(host: str) -> str:
    try:
        return host.encode("idna").decode() or "?"
    except UnicodeError:
        return host[:253]


def _is_judged(passed: bytes) -> bool:
    """Say whether what has passed of a URL names its host: then it passed on purpose."""
    return passed != b"" and named_host(passed, whole=False) is not None


def _is_in_srcset(text: bytes, at: int) -> bool:
    return b"srcset" in text[max(0, at - _LOOK_BACK) : at].lower()


def _kind(text: bytes, opened: re.Match[bytes]) -> str:
    """Return whether a page loads by itself what a URL names; where that cannot be seen, it does."""
    start = opened.start()
    by = opened.group()[:2]
    if by == b"](":
        bracket = text.rfind(b"[", max(0, start - _LOOK_BACK), start)
        return LINK if bracket >= 0 and text[bracket - 1 : bracket] != b"!" else IMAGE
    if by == b"]:" or by[:1] == b"<":
        return LINK
    name = opened.group("name")
    if name is None or name.lower() not in _LINKS:
        return IMAGE
    return (
        IMAGE
        if re.search(rb"<(?:link|image|use)\b[^<>]*\Z", text[max(0, start - _LOOK_BACK) : start], re.IGNORECASE)
        else LINK
    )


def is_secretive(raw: bytes) -> bool:
    """Return whether the path or query of a URL looks like data in some encoding."""
    _, _, rest = raw.partition(b"://")
    _, _, rest = rest.partition(b"/") if b"/" in rest else rest.partition(b"?")
    return any(len(part) >= _SECRETIVE and _bits(part) >= _ENTROPY for part in re.split(rb"[/?&=;#]", rest[:MAX_URL]))


def _bits(text: bytes) -> float:
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())
