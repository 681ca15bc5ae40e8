"""How a secret may be written as a whole: what its beginning looks like in hex and in base64.

Escapes of single characters, and texts in hex or base64 that hold them, are undone while reading: see
`character_escapes` and `encoded_runs`.
"""

from __future__ import annotations

import base64

from sidecar.redaction.character_escapes import NAMES


def spellings(secret: bytes) -> frozenset[bytes]:
    """Return a secret as it is, in hex, and in base64 at each of the three alignments.

    Hex in lower case and base64 in the standard alphabet stand for the others.
    """
    return frozenset({secret, secret.hex().encode(), *(_determined(secret, before) for before in range(3))})


def openings(secret: bytes) -> set[bytes]:
    """Return the first two or three bytes of a secret in any of its spellings."""
    first, two = secret[:1], secret[:2]
    octet = secret[0]
    return {
        two,
        *(first + unseen for unseen in (b"\x00", b"\xc2", b"\xe2", b"\xef", b"\r\n")),
        b"\x00" + first,
        two.hex()[:3].encode(),
        two.hex()[:3].upper().encode(),
        *(_determined(secret[:4], before)[:3] for before in range(3)),
        *(first + introducer for introducer in (b"\\", b"%", b"&")),
        *(b"%%%02x" % octet, b"%%%02X" % octet, b"%u0", b"%25"),
        *(b"\\u0", b"\\u{", b"\\U0", b"\\\\", b"\\x%x" % (octet >> 4), b"\\%03o" % octet),
        (b"&#%d" % octet)[:3],
        *(b"&#0", b"&#x", b"&#X", b"&am", *(b"&" + name[:2] for name in NAMES.get(octet, ()))),
    }


def _determined(secret: bytes, before: int) -> bytes:
    """Return the base64 characters that the secret alone decides when `before` bytes precede it.

    At either edge one character may hold bits of a neighbour; it gives away four bits at most.
    """
    encoded = base64.b64encode(bytes(before) + secret)
    first = (before * 8 + 5) // 6
    return encoded[first : (before + len(secret)) * 8 // 6]
