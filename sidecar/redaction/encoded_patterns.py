r"""Patterns for needles in every spelling, for an engine that reads a text once whatever it holds.

A disguised character is a run of `%`, `\` and what stands between them and its digits; only the first
character of a match is spelled out exactly, so that a match begins where its spelling does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import re2

from sidecar.redaction.character_escapes import ITSELF, NAMED, spelled

MEMORY: Final = 64 << 20
"""The most bytes of one automaton, which is built as far as texts use it."""
_LARGE: Final = 500_000  # bytes of a pattern that wants more, or a slower engine reads instead
_DEEP: Final = 8  # bytes of a head behind those that it shares with other needles …
_SHALLOW: Final = 3  # … or as many, when there are many needles
_FEW: Final = 6000  # bytes of heads
_LONGEST_HEAD: Final = 48

Trie: TypeAlias = "dict[int, Trie]"


def compiled(pattern: bytes, *, longest: bool = False) -> Any:
    """Compile a pattern over bytes. Not through the library's cache: what is secret goes with its owner."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 4 * MEMORY if len(pattern) > _LARGE else MEMORY
    options.longest_match = longest
    options.log_errors = False
    return re2._Regexp(pattern, options)  # noqa: SLF001  # `compile` would keep it


def _digits(number: int, width: int) -> bytes:
    return "".join(c if c.isdigit() else f"[{c}{c.upper()}]" for c in f"{number:0{width}x}").encode()


def _loose(byte: int) -> bytes:
    letters = {name for name, meant in NAMED.items() if meant == byte} | ({byte} & {*ITSELF, 0x5C})
    ends = b"|".join((_digits(byte, 2), *(b"\\x%02x" % letter for letter in sorted(letters))))
    return b"(?:\\x%02x|[%%\\\\][%%\\\\ux025]*(?:%b))" % (byte, ends)


LOOSE: Final = tuple(map(_loose, range(256)))
"""Pattern of one byte of a needle: as it is, or at the end of a run of escapes."""


def heads(needles: Sequence[bytes]) -> list[bytes]:
    """Return the beginning of each of the sorted needles: enough to tell it from the others and from chance.

    A head ends at a byte beyond ASCII: an escape names the whole character.
    """
    shared = [0, *(_shared(one, other) for one, other in pairwise(needles)), 0]
    found: list[bytes] = []
    for more in (_DEEP, _SHALLOW):
        found = [
            _plain(needle[: min(_LONGEST_HEAD, max(shared[at], shared[at + 1]) + more)])
            for at, needle in enumerate(needles)
        ]
        if sum(map(len, set(found))) <= _FEW:
            break
    return found


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
    return b"|".join(_head_byte(byte) + _group(whole(below)) for byte, below in tree.items())


def begun(tree: Trie) -> bytes:
    """Return the pattern of the proper beginnings of the words of a tree."""
    return b"|".join(
        _head_byte(byte) + (_group(rest) + b"?" if (rest := begun(below)) else b"")
        for byte, below in tree.items()
        if below
    )


def _group(pattern: bytes) -> bytes:
    return b"(?:" + pattern + b")" if pattern else b""


def _head_byte(byte: int) -> bytes:
    return LOOSE[byte] if byte < 0x80 else b"(?:" + LOOSE[byte] + rb"|\\+u[0-9A-Fa-f]{4})"


def exact(needles: Iterable[bytes]) -> tuple[Any, Any]:
    """Return two searches: for a whole needle, and for the longest beginning of one at the end of a text."""
    units = [_units(needle) for needle in needles]
    return (
        compiled(b"|".join(map(_complete, units)), longest=True),
        compiled(b"(?:" + b"|".join(map(_beginning, units)) + b")\\z", longest=True),
    )


def _units(needle: bytes) -> list[bytes]:
    """Return the characters of a needle, as UTF-8."""
    return [c.encode("utf-8", "surrogatepass") for c in needle.decode("utf-8", "surrogatepass")]


def _complete(units: Sequence[bytes]) -> bytes:
    once = _unit(units[0], first=True) + b"".join(map(_unit, units[1:]))
    period = _period(units)
    if period > len(units) // 2:
        return once
    # Overlapping occurrences of a needle that repeats itself are one match, not one for each byte.
    return b"(?:" + _unit(units[0], first=True) + b"".join(map(_unit, units[1:period])) + b")*" + once


def _period(units: Sequence[bytes]) -> int:
    """Return after how many characters a needle repeats itself (Knuth, Morris, Pratt)."""
    border = [0] * len(units)
    for at in range(1, len(units)):
        size = border[at - 1]
        while size and units[at] != units[size]:
            size = border[size - 1]
        border[at] = size + (units[at] == units[size])
    return len(units) - border[-1]


def _beginning(units: Sequence[bytes]) -> bytes:
    opening: list[bytes] = []
    closing: list[bytes] = []
    for at, unit in enumerate(units):
        cut = _cut(unit)
        if at == len(units) - 1 and not cut:
            break
        if at:
            opening.append(b"(?:")
            closing.append(b")?")
        if at == len(units) - 1:
            opening.append(cut)
        elif cut:
            opening.append(b"(?:" + _unit(unit, first=not at))
            closing.append(b"|" + cut + b")")
        else:
            opening.append(_unit(unit, first=not at))
    return b"".join((*opening, *reversed(closing)))


def _cut(unit: bytes) -> bytes:
    """Return the pattern of the first bytes of a character, without its last."""
    pattern = b""
    for byte in reversed(unit[:-1]):
        pattern = LOOSE[byte] + (_group(pattern) + b"?" if pattern else b"")
    return pattern


def _unit(unit: bytes, *, first: bool = False) -> bytes:
    if len(unit) == 1:
        return spelled(unit[0]) if first else LOOSE[unit[0]]
    halves = unit.decode("utf-8", "surrogatepass").encode("utf-16-be", "surrogatepass")
    named = b"".join(
        rb"\\{1,7}u" + _digits(int.from_bytes(halves[at : at + 2], "big"), 4) for at in range(0, len(halves), 2)
    )
    return b"(?:" + b"".join(LOOSE[byte] for byte in unit) + b"|" + named + b")"
