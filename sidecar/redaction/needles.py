"""How a secret may be written, and the tree that tells all of them apart while reading once.

Two families. Encodings that fix every character of the result are written out as needles: the
secret itself, hex, and base64 at its three alignments in both alphabets. Encodings of single
characters (JSON and URL escapes, in any mix and nesting) are undone while reading, see `escapes`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TypeAlias

END = -1
Tree: TypeAlias = "dict[int, Tree | bytes]"
"""byte → the rest of the only needle left, or a deeper tree; END → a needle ends here."""


def spellings(secret: bytes) -> frozenset[bytes]:
    """Return the needles of one secret."""
    digits = secret.hex().encode()
    found = {secret, digits, digits.upper()}
    for before in range(3):
        standard = _determined(secret, before)
        found |= {standard, standard.translate(_URL_ALPHABET)}
    return frozenset(found)


_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


def _determined(secret: bytes, before: int) -> bytes:
    """Return the base64 characters that the secret alone decides when `before` bytes precede it.

    At either edge one character may hold bits of a neighbour; it gives away four bits at most.
    """
    encoded = base64.b64encode(bytes(before) + secret)
    first = (before * 8 + 5) // 6
    return encoded[first : (before + len(secret)) * 8 // 6]


def grow(needles: Iterable[bytes]) -> Tree:
    """Build the tree. Iterative: needles may be as long as a private key."""
    root: Tree = {}
    for needle in needles:
        _insert(root, needle)
    return root


def _insert(node: Tree, needle: bytes) -> None:
    for at, byte in enumerate(needle, 1):
        child = node.get(byte)
        if child is None:
            node[byte] = needle[at:]
            return
        if isinstance(child, bytes):
            if child == needle[at:]:
                return
            split: Tree = {END: b""} if not child else {child[0]: child[1:]}
            node[byte] = child = split
        node = child
    node[END] = b""
