"""How a secret may be written.

Two families. Encodings that fix every character of the result are written out as needles: the
secret itself, hex, and base64 at its three alignments in both alphabets. Encodings of single
characters (JSON and URL escapes, in any mix and nesting) are undone while reading, see `spelled`.
"""

from __future__ import annotations

import base64


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
