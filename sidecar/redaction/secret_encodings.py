"""How a secret may be written as a whole: what its beginning looks like in hex and in base64.

Escapes of single characters, and texts in hex or base64 that hold them, are undone while reading: see
`character_escapes` and `encoded_runs`.
"""

from __future__ import annotations

import base64


def spellings(secret: bytes) -> frozenset[bytes]:
    """Return a secret as it is, in hex, and in base64 at each of the three alignments.

    Hex in lower case and base64 in the standard alphabet stand for the others.
    """
    return frozenset({secret, secret.hex().encode(), *(_determined(secret, before) for before in range(3))})


def _determined(secret: bytes, before: int) -> bytes:
    """Return the base64 characters that the secret alone decides when `before` bytes precede it.

    At either edge one character may hold bits of a neighbour; it gives away four bits at most.
    """
    encoded = base64.b64encode(bytes(before) + secret)
    first = (before * 8 + 5) // 6
    return encoded[first : (before + len(secret)) * 8 // 6]
