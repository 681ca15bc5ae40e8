"""Finds known secrets in bodies that are no text: pictures, fonts, archives, programs.

A reader of text undoes escapes and overlooks what it does not show; a reader of such a body does neither.
So secrets are searched as they are and in the forms that programs store them in, which costs one pass of
an automaton of their beginnings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote_from_bytes

from sidecar.redaction.encoded_patterns import compiled
from sidecar.redaction.prefilter import UNANCHORED
from sidecar.redaction.scanner import Hit, Scanner
from sidecar.redaction.secret_encodings import spellings

KNOWN: Final = "known"
HEAD: Final = 8
"""Bytes of a form that are searched; no form is shorter."""

CONTROLS: Final = bytes((*range(9), 11, 12, *range(14, 27), *range(28, 32), 127))
"""Bytes that texts do not hold."""
SAMPLE: Final = 1024
SHARE: Final = 32
"""A text has less than one of them in so many bytes."""


def is_binary(body: bytes) -> bool:
    """Return whether a part of a body holds more control characters than any text, by its beginning."""
    body = body[:SAMPLE]
    return (len(body) - len(body.translate(None, CONTROLS))) * SHARE > len(body)


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


class BinaryScanner:
    """Scans what is no text for the forms of secrets, and what is text with the scanner of texts."""

    framing = True
    __slots__ = ("_begun", "_forms", "_head", "_text", "reach")

    def __init__(self, text: Scanner, secrets: Iterable[bytes]) -> None:
        self._text = text
        self._forms: dict[bytes, list[bytes]] = {}
        for form in sorted({form for secret in secrets for form in forms(secret) if len(form) >= HEAD}):
            self._forms.setdefault(form[:HEAD], []).append(form)
        heads = sorted(self._forms)
        self._head: Any = compiled(b"|".join(map(_literal, heads)) or b"[^\\x00-\\xff]")._regexp.Match  # noqa: SLF001  # as in prefilter
        self._begun = frozenset(head[:size] for head in heads for size in range(1, HEAD))
        self.reach = max(text.reach, *(len(form) for each in self._forms.values() for form in each), 0)

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return the hits in order, and where the text turns live: one of the forms may begin there."""
        if not is_binary(text):
            return self._text.scan(text, before, final)
        size, at = len(text), 0
        live = size
        hits: list[Hit] = []
        while (start := self._found(text, at)) >= 0:
            at = start + 1
            for form in self._forms[text[start : start + HEAD]]:
                if text.startswith(form, start):
                    at = start + len(form)
                    hits.append(Hit(start, at, KNOWN))
                    break
                if not final and start + len(form) > size and form.startswith(text[start:]):
                    live = min(live, start)
        if final:
            return hits, size
        for length in range(min(HEAD - 1, size - at), 0, -1):
            if text[size - length :] in self._begun:
                live = min(live, size - length)
                break
        return [hit for hit in hits if hit.start < live], live

    def _found(self, text: bytes, at: int) -> int:
        """Return where the next beginning of a form is, -1 if nowhere."""
        ((start, _),) = self._head(UNANCHORED, text, at, len(text))
        return int(start)
