"""What every refusal contains."""

from __future__ import annotations

import json
import re

from tests.support.raw import Message
from tests.support.sidecar import ORIGIN

LEAKS = re.compile(
    rb"traceback|file \"|line \d|\.py|/home/|/root/|/usr/|site-packages|python/|aiohttp|uvloop|sidecar/|127\.0\.0\.1:\d|exception"
    rb"|errno|secret-of-the-backend",
    re.IGNORECASE,
)
ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"x-xss-protection": b"0",
    b"cache-control": b"no-store",
}


def check_refusal(message: Message, status: int, code: str, *, origin: bool = True) -> None:
    """Hold a refusal against the contract: code, request id, headers for the page, nothing that leaks."""
    assert message.status == status, (message.start, message.body)
    body = json.loads(message.body)
    assert set(body) == {"error", "code", "request_id"}
    assert body["code"] == code
    assert isinstance(body["error"], str)
    assert body["request_id"].encode() == message.get(b"x-request-id")
    assert (message.get(b"content-type") or b"").startswith(b"application/json")
    for name, value in ALWAYS.items():
        assert message.get(name) == value, name
    assert message.get(b"content-security-policy")
    assert message.get(b"server") is None
    assert message.get(b"access-control-allow-origin") == (ORIGIN.encode() if origin else None)
    if origin:
        assert b"x-request-id" in (message.get(b"access-control-expose-headers") or b"").lower()
    whole = message.body + b"\n".join(b"%b: %b" % each for each in message.fields)
    assert not LEAKS.search(whole), whole
