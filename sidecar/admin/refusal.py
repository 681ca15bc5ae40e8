"""Refusals of the management listener, and the headers of all of its responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.vocabulary import Code

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",  # the filter of old browsers can itself be abused
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller receives. `detail` is for the event, and is not sent."""

    status: int
    code: str
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)
    detail: Mapping[str, str | int] = field(default_factory=dict)

    def body(self, request_id: str, accept: str) -> tuple[bytes, str]:
        """Return the body and its media type: the contract's JSON, or RFC 9457 when asked."""
        shown: dict[str, Any] = {"error": self.sentence, "code": self.code, "request_id": request_id}
        if "application/problem+json" in accept:
            shown = {
                "type": "about:blank",
                "title": self.sentence,
                "status": self.status,
                "code": self.code,
                "request_id": request_id,
            }
            return json.dumps(shown).encode(), "application/problem+json"
        return json.dumps(shown).encode(), "application/json"


class Refused(Exception):
    """Ends the handling of a call with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def refuse(code: Code, sentence: str = "", *, headers: Mapping[str, str] | None = None, **detail: str | int) -> Refused:
    """Build the refusal of a code of the contract; a sentence of its own may say what to do instead."""
    return Refused(Refusal(code.status, code.name, sentence or code.sentence, headers or {}, detail))


def invalid(sentence: str) -> Refused:
    """Build the refusal of a request that is wrong in itself."""
    return refuse(Code.REQUEST_MALFORMED, sentence)


CONFLICT: Final = 409
INTERNAL: Final = Refusal(500, "INTERNAL_ERROR", "The sidecar failed; its log says why")
UNAVAILABLE: Final = Refusal(503, "STORE_UNAVAILABLE", "The store does not answer; nothing was changed")


def conflict(sentence: str) -> Refused:
    """Build the refusal of a change that something else stands against."""
    return Refused(Refusal(CONFLICT, "CONFLICT", sentence))
