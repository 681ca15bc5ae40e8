"""Header lines of a backend's or provider's 5xx that pass, and retry advice on refusals. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sidecar.head import Fields
from sidecar.responses.interfaces import ResponseFilters
from sidecar.vocabulary import Code

_PASSED: Final = frozenset({
    b"retry-after", b"retry-after-ms", b"x-should-retry",
    b"request-id", b"x-request-id", b"apim-request-id", b"x-ms-request-id", b"x-ms-client-request-id",
    b"x-groq-request-id",
    b"mistral-correlation-id", b"x-kong-request-id", b"x-amzn-requestid", b"x-goog-request-id", b"x-generation-id",
    b"cf-ray",
})  # fmt: skip
"""Names that pass on a 5xx: when to come again, and under which number the provider's support finds the call."""

_PASSED_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-", b"ratelimit")
"""How much of a provider's own limits is left."""

_REQUEST_IDS: Final = (
    b"x-request-id", b"request-id", b"apim-request-id", b"x-ms-request-id", b"x-groq-request-id",
    b"mistral-correlation-id", b"x-kong-request-id", b"x-amzn-requestid", b"x-goog-request-id", b"cf-ray",
)  # fmt: skip
_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")

_IN_VAIN: Final = frozenset({
    Code.REQUEST_MALFORMED, Code.MESSAGE_INVALID, Code.MESSAGE_TOO_LONG, Code.CORS_BLOCKED, Code.CSRF_BLOCKED,
    Code.IP_BLOCKED, Code.CONTENT_BLOCKED, Code.FORBIDDEN, Code.BODY_TOO_LARGE, Code.TARGET_TOO_LONG,
    Code.UNSUPPORTED_MEDIA_TYPE, Code.LENGTH_REQUIRED, Code.EXPECTATION_FAILED, Code.HEADERS_TOO_LARGE,
})  # fmt: skip
"""Refusals that the same request meets again."""

_NO: Final = (b"x-should-retry", b"false")
_YES: Final = (b"x-should-retry", b"true")


def passed_on_failure(lines: Fields, removed: frozenset[bytes]) -> list[bytes]:
    """Return the field lines of a 5xx that pass beside our own body.

    lines    (lower-case name, line)
    removed  lower-case names that answers of the route lose
    """
    return [
        line for name, line in lines if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and name not in removed
    ]


def provider_request_id(index: Mapping[bytes, bytes], own: str, filters: ResponseFilters | None) -> str:
    """Return the id that a provider or backend gave the request.

    "" for none, an odd one, one that holds a secret (it is logged), or the one that we gave.
    """
    for name in _REQUEST_IDS:
        value = index.get(name)
        if value is not None and _ID.fullmatch(value) and (filters is None or filters.clean(value) == value):
            text = value.decode("ascii")
            if text != own:
                return text
    return ""


def retry_advice(code: Code, *, sent: bool) -> Fields:
    """Return what a refusal tells clients that repeat by themselves (`x-should-retry`, as the large SDKs read it).

    sent  the backend has the request: what did not come in time may come of it yet, and be paid for
    """
    if code in _IN_VAIN or code.name.startswith("MESSAGE_") or (code is Code.BACKEND_TIMEOUT and sent):
        return [_NO]
    return []


def unread_request() -> Fields:
    """Return the advice for a request that the backend closed the connection on without having read it."""
    return [_YES]
