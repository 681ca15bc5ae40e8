"""Header lines that describe a body byte for byte, and what becomes of them where the body may change. Pure."""

from __future__ import annotations

from typing import Final

from sidecar.head import Fields

_DIGESTS: Final = frozenset({b"digest", b"repr-digest", b"content-digest", b"content-md5"})
"""RFC 9530, RFC 3230, RFC 1864: sums over bytes that the client does not get."""
_CODED: Final = b"content-encoding"


def searched(lines: Fields, *, changed: bool, opened: bool) -> Fields:
    """Return the (lower-case name, line) pairs of a response whose body is searched for secrets.

    A part of it could hold half of a secret, so it promises no ranges (RFC 9110 §14.3).

    changed  the body that the client gets is, or may be, another than the backend's
    opened   its content coding has been taken away
    """
    found: Fields = []
    for name, line in lines:
        if name == b"accept-ranges" or (opened and name == _CODED) or (changed and name in _DIGESTS):
            continue
        found.append((name, weakened(line)) if changed and name == b"etag" else (name, line))
    return found


def weakened(line: bytes) -> bytes:
    """Return an ETag line whose validator is weak: the same meaning, not the same bytes (RFC 9110 §8.8.1)."""
    name, _, value = line.partition(b":")
    value = value.strip(b" \t")
    return line if value.startswith(b"W/") else name + b": W/" + value


def not_modified(lines: Fields, if_none_match: bytes | None) -> Fields:
    """Return the lines of a 304 with the validator as the client knows it: weak where it was weakened here."""
    if if_none_match is None or b"W/" not in if_none_match:
        return lines
    return [
        (name, weakened(line)) if name == b"etag" and b"W/" + line[5:].strip(b" \t") in if_none_match else (name, line)
        for name, line in lines
    ]
