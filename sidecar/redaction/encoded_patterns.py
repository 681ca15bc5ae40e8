r"""Patterns of what a text holds when it may hold a secret, for an engine that reads a text once whatever it holds.

A match may be false, and no secret is missed: an escaped character is a run of `%`, `\`, `&` and what is between
them and its digits, and anything invisible may be between two characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import re2

from sidecar.redaction.character_escapes import NAMES

MEMORY: Final = 64 << 20
"""The most bytes of one automaton, which is built as far as texts use it."""
MOST: Final = 120_000
"""Bytes of a pattern that is compiled at once: about 10 ms, during which no other thread runs …"""
_MOST_LITERAL: Final = MOST // 2
"""… and of one that finds the longest of its words."""
_DEEP: Final = 8  # bytes of a head behind those that it shares with other spellings …
_SHALLOW: Final = 3  # … or as many, when there are many spellings
_SIZES: Final = (10, 8, 6, 5)  # … or bytes of a head in all
_FEWEST: Final = 200  # distinct beginnings of long heads: each is some 300 bytes of patterns
_FEW: Final = 1000  # … and of shorter ones: one automaton …
_MANY: Final = 3200  # … or a few
_LONGEST_HEAD: Final = 48
_PLAIN_HEAD: Final = 8  # bytes of a head that is searched as it is

Trie: TypeAlias = "dict[int, Trie]"


def compiled(pattern: bytes, *, longest: bool = False) -> Any:
    """Compile a pattern over bytes. Not through the library's cache, which would keep secrets in memory."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = MEMORY
    options.longest_match = longest
    options.log_errors = False
    return re2._Regexp(pattern, options)  # noqa: SLF001  # `compile` would keep it


_JUNK: Final = rb"[\x00-\x08\x0a-\x1f\x7f-\xff]*"


_NAMED: Final = {0x08: b"b", 0x0C: b"f", 0x0A: b"n", 0x0D: b"r", 0x09: b"t"}
_ALIKE: Final = {0x2B: b"+-", 0x2D: b"+-", 0x2F: b"/_", 0x5F: b"/_"}  # in the two alphabets of base64
_BETWEEN: Final = rb"(?:[\x00-\x08\x0a-\x1f\x7f-\xff]|[\x0b-\x0f]\x20|\x20[\x0b-\x0f]|[%\\&][#\w{]*[;}]?)*"
_UNSEEN: Final = (
    rb"(?:%[Cc]2%[Aa][Dd]|%[Ee]2%8[01]%[89Aa][0-9A-Fa-f]|%[Ee][Ff]%[Bb][Bb]%[Bb][Ff]"
    rb"|\\+u\{?(?:00)?[Aa][Dd]\}?|\\+u\{?[Ff][Ee][Ff][Ff]\}?|\\+x[Cc]2\\+x[Aa][Dd]"
    rb"|\\+x[Ee]2\\+x8[01]\\+x[89Aa][0-9A-Fa-f]|\\+x[Ee][Ff]\\+x[Bb][Bb]\\+x[Bb][Ff]"
    rb"|%(?:25)*(?:u00)?00|\\+u\{?0{1,4}\}?|\\+x00|\\+000|&#[xX]?0{1,4};?|\\+u\{?200[b-fB-F]\}?|&#173;|&#[xX][Aa][Dd];)"
)
"""Escapes of what no reader sees."""
_DENSE: Final = (
    (
        rb"(?:(?:&J#J[xX]?J[0-9]|&J(?:[A-Za-z]J)+;|%J(?:25)*(?:u00)?J[2-7]|\\+J(?:u\{?|x|U)J0*J0*J[2-7]|\\+J[01]J[0-7]J[0-7])"
        rb"[\x00-\x08\x0a-\x1f0-9A-Fa-fxX;}\x7f-\xff]{0,24}[!-~]{0,2}(?:H)?){3}"
    )
    .replace(b"J", _JUNK)
    .replace(b"H", _UNSEEN)
)
"""Escapes of ASCII in a row: what layers of escapes look like."""
_WIDE: Final = rb"(?:[!-~]\x00(?:\r\x00)?(?:\n\x00)?){6}|(?:(?:\x00\r)?(?:\x00\n)?\x00[!-~]){6}"
"""ASCII as UTF-16."""
_SPREAD: Final = (
    rb"(?:[!-~]{1,8}(?:\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81\xa0|\xef\xbb\xbf|H)){3}"
    rb"|[!-~]\x00(?:\xad\x00|[\x0b-\x0f\x60]\x20|\xff\xfe)[!-~]\x00"
    rb"|\x00[!-~](?:\x00\xad|\x20[\x0b-\x0f\x60]|\xfe\xff)\x00[!-~]"
).replace(b"H", _UNSEEN)
"""Characters that no reader sees between others."""


def _alike(byte: int) -> bytes:
    letter = bytes((byte,))
    same = {letter, *(bytes((one,)) for one in _ALIKE.get(byte, b""))}
    if letter in b"abcdefABCDEF":
        same |= {letter.lower(), letter.upper()}
    letters = b"".join(b"\\x%02x" % one[0] for one in sorted(same))
    return letters if len(same) == 1 else b"[" + letters + b"]"


def _loose(byte: int) -> bytes:
    """Return the pattern of a byte as it is, or of a run of an escape's characters that ends as its escapes do."""
    names = NAMES.get(byte, ())
    ends = {b"%x" % (byte & 15), b"%X" % (byte & 15), b"%d" % (byte % 10), b"%d" % (byte & 7)}
    ends |= {name[-1:] for name in names}
    ends |= {_NAMED[byte]} if byte in _NAMED else {b"\\x%02x" % byte} if byte in b"\"'/\\" else set()
    run = rb"[%\\&][%\\&#;{" + (rb"\w" if names else b"xuUamp0-9A-Fa-f") + rb"\x00-\x08\x0a-\x1f\x7f-\xff]*"
    return b"(?:" + _alike(byte) + b"|" + run + b"[" + b"".join(sorted(ends)) + b"](?:" + _JUNK + b"[;}])?)"


LOOSE: Final = tuple(map(_loose, range(256)))
"""Pattern of one byte of a spelling: as it is, or at the end of a run of escapes."""

ESCAPED: Final = b"|".join((_DENSE, _WIDE, _SPREAD))
CUT_ESCAPE: Final = rb"[%\\&][%\\&#;{\w\x00-\x08\x0a-\x1f\x7f-\xff]{0,80}|[\xc2\xcd\xe1\xe2\xef\xf3][\x80-\xbf]{0,2}"
"""What a text ends with when it cuts an escape or an invisible character."""


def heads(spellings: Sequence[bytes]) -> list[bytes] | None:
    """Return the beginning of each of the sorted spellings: enough to tell it from the others and from chance.

    A head ends at a byte beyond ASCII: an escape names the whole character. None: too many begin unlike.
    """
    shared = [0, *(_shared(one, other) for one, other in pairwise(spellings)), 0]
    unlike = [max(shared[at], shared[at + 1]) for at in range(len(spellings))]
    lengths = [
        [min(_LONGEST_HEAD, size + _SHALLOW) for size in unlike],
        *([size] * len(spellings) for size in _SIZES),
    ]
    deep = [min(_LONGEST_HEAD, size + _DEEP) for size in unlike]
    for few, sizes in ((_FEWEST, deep), *((_FEW, sizes) for sizes in lengths), *((_MANY, sizes) for sizes in lengths)):
        found = sorted({_plain(spelling[:size]) for spelling, size in zip(spellings, sizes, strict=True)})
        if len({head[:size] for head in found for size in range(1, len(head) + 1)}) <= few:
            return found
    return None


def short_heads(spellings: Iterable[bytes], size: int = _PLAIN_HEAD) -> list[bytes]:
    """Return the first bytes of each spelling."""
    return sorted({_plain(spelling[:size]) for spelling in spellings})


def in_parts(heads: Sequence[bytes], pattern: Callable[[Trie], bytes], most: int = MOST) -> list[bytes]:
    """Return the patterns of sorted heads, each of at most so many bytes (but one head's may have more)."""
    agenda = [heads]
    found: list[bytes] = []
    while agenda:
        some = agenda.pop()
        whole = pattern(trie(some))
        if len(whole) > most and len(some) > 1:
            agenda += (some[: len(some) // 2], some[len(some) // 2 :])
        elif whole:
            found.append(whole)
    return found


def as_they_are(tree: Trie) -> bytes:
    """Return the pattern of the words of a tree without escapes; hex and base64 in either of their alphabets."""
    return b"|".join(_alike(byte) + _group(as_they_are(below)) for byte, below in tree.items())


def _shared(one: bytes, other: bytes) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(one[:_LONGEST_HEAD], other, strict=False)) if a != b), _LONGEST_HEAD
    )


def _plain(head: bytes) -> bytes:
    return next((head[: at + 1] for at, byte in enumerate(head) if byte >= 0x80), head)


def trie(words: Iterable[bytes]) -> Trie:
    """Return the words as a tree; a word that begins with another is left out: where it is, the other is."""
    root: Trie = {}
    for word in sorted(set(words), key=len):
        node = root
        for at, byte in enumerate(word):
            below = node.get(byte)
            if below is None:
                _branch(node, word[at:])
                break
            node = below
            if not node:
                break
    return root


def _branch(node: Trie, rest: bytes) -> None:
    for byte in rest:
        node[byte] = node = {}


def whole(tree: Trie) -> bytes:
    """Return the pattern of the words of a tree."""
    return b"|".join(_head_byte(byte) + _group(whole(below), _BETWEEN) for byte, below in tree.items())


def begun(tree: Trie) -> bytes:
    """Return the pattern of the proper beginnings of the words of a tree."""
    return b"|".join(
        _head_byte(byte) + _BETWEEN + (_group(rest) + b"?" if (rest := begun(below)) else b"")
        for byte, below in tree.items()
        if below
    )


def _group(pattern: bytes, ahead: bytes = b"") -> bytes:
    return ahead + b"(?:" + pattern + b")" if pattern else b""


def _head_byte(byte: int) -> bytes:
    return LOOSE[byte] if byte < 0x80 else b"(?:" + LOOSE[byte] + rb"|\\+u[0-9A-Fa-f]{4}|&#[0-9A-Za-z]{2,8};?)"


def literal(spellings: Iterable[bytes]) -> list[Any]:
    """Return the searches for spellings as they are; each finds the longest of those that begin at a place."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for pattern in map(_repeated, spellings):
        size += len(pattern)
        if size > _MOST_LITERAL and parts[-1]:
            parts.append([])
            size = len(pattern)
        parts[-1].append(pattern)
    return [compiled(b"|".join(part), longest=True) for part in parts if part]


def _repeated(spelling: bytes) -> bytes:
    """Return the pattern of a spelling; overlapping occurrences of one that repeats itself are one match."""
    once: bytes = _quoted(spelling)
    period = _period(spelling)
    return once if period > len(spelling) // 2 else b"(?:" + _quoted(spelling[:period]) + b")*" + once


def _quoted(text: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in text)


def _period(text: bytes) -> int:
    """Return after how many bytes a text repeats itself (Knuth, Morris, Pratt)."""
    border = [0] * len(text)
    for at in range(1, len(text)):
        size = border[at - 1]
        while size and text[at] != text[size]:
            size = border[size - 1]
        border[at] = size + (text[at] == text[size])
    return len(text) - border[-1]
