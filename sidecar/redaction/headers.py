"""Values that are complete: header values, reason phrases, error bodies."""

from __future__ import annotations

from sidecar.redaction.scan import Scanner, clean


def redact_value(value: bytes, scanner: Scanner | None, counts: dict[str, int] | None = None) -> bytes:
    """Return a complete value without what must not pass; the very object when there is nothing.

    The mark holds no byte that a header value may not hold, so a clean value stays a valid one.
    """
    return value if scanner is None or not value else clean(value, scanner, counts)
