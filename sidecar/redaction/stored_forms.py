"""How programs store secrets in what is no text: as they are, escaped, in hex, in base64, in UTF-16."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote_from_bytes

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from sidecar.redaction.encoded_patterns import MOST
from sidecar.redaction.prefilter import begins, matcher
from sidecar.redaction.scanner import KNOWN, Hit
from sidecar.redaction.secret_encodings import spellings

HEAD: Final = 8
"""Bytes of a form that are searched; no form is shorter."""
_QUICK: Final = 60
"""Beginnings that the library searches for by vector instructions; of more it makes an automaton."""
_MOST_QUICK: Final = 8 * _QUICK
"""Beginnings of which such a search, some at a time, is quicker than an automaton of all."""
_AT_ONCE: Final = MOST // (4 * HEAD + 1)  # beginnings of one automaton


class StoredForms:
    """Finds the forms of a set of secrets. `reach`: bytes of the longest."""

    __slots__ = ("_begun", "_by_head", "_heads", "_quick", "reach")

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._by_head: dict[bytes, list[bytes]] = {}
        for form in sorted({form for secret in secrets for form in forms(secret) if len(form) >= HEAD}):
            self._by_head.setdefault(form[:HEAD], []).append(form)
        heads = sorted(self._by_head)
        self._heads: list[Any] = [matcher(b"|".join(map(_literal, some))) for some in _parted(heads, _AT_ONCE)]
        self._quick: list[BytesAhoCorasick] | None = None
        if len(heads) <= _MOST_QUICK:
            leftmost = MatchKind.LeftmostFirst  # of the other kind it makes an automaton always
            self._quick = [BytesAhoCorasick(some, leftmost) for some in _parted(heads, _QUICK)]
        self._begun = frozenset(head[:size] for head in self._by_head for size in range(1, HEAD))
        self.reach = max((len(form) for each in self._by_head.values() for form in each), default=0)

    def find(self, text: bytes, final: bool) -> tuple[list[Hit], int]:
        """Return the hits in order, and where the text turns live: one of the forms may begin there."""
        size, ends = len(text), 0
        live = size
        hits: list[Hit] = []
        for heads in self._heads if self._may_be_in(text) else ():
            at = 0
            while (start := begins(heads, text, at)) >= 0:
                at = start + 1
                for form in self._by_head[text[start : start + HEAD]]:
                    if text.startswith(form, start):
                        at = start + len(form)
                        hits.append(Hit(start, at, KNOWN))
                        break
                    if not final and start + len(form) > size and form.startswith(text[start:]):
                        live = min(live, start)
            ends = max(ends, at)
        if len(self._heads) > 1:
            hits.sort()
        if final:
            return hits, size
        for length in range(min(HEAD - 1, size - ends), 0, -1):
            if text[size - length :] in self._begun:
                live = min(live, size - length)
                break
        return [hit for hit in hits if hit.start < live], live

    def _may_be_in(self, text: bytes) -> bool:
        """Return whether a form begins in a text; True where only the automaton can tell."""
        return self._quick is None or any(each.find_matches_as_indexes(text) for each in self._quick)


def _parted(heads: list[bytes], most: int) -> Iterator[list[bytes]]:
    for at in range(0, len(heads), most):
        yield heads[at : at + most]


def forms(secret: bytes) -> set[bytes]:
    """Return a secret as it is, escaped in JSON and in URLs, in hex, in base64 at each alignment, and in UTF-16."""
    found = set(spellings(secret))
    found |= {form.upper() for form in (secret.hex().encode(),)}
    found |= {form.translate(_URL_SAFE) for form in spellings(secret)}
    quoted = quote_from_bytes(secret, safe="").encode()
    found |= {quoted, _lower_escapes(quoted)}
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return found
    for ascii_only in (True, False):
        found.add(json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogatepass"))
    return found | {text.encode("utf-16-le", "surrogatepass"), text.encode("utf-16-be", "surrogatepass")}


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def _literal(text: bytes) -> bytes:
    return b"".join([b"\\x%02x" % byte for byte in text])


def _lower_escapes(quoted: bytes) -> bytes:
    first, *others = quoted.split(b"%")
    return b"%".join([first, *(other[:2].lower() + other[2:] for other in others)])
