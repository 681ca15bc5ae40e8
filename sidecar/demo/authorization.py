"""The demo's endpoints ask for a provider's key, as a backend does that calls a paid model."""

from __future__ import annotations

import hmac

from aiohttp import web

from sidecar.secret import Secret

KEY: web.AppKey[Secret | None] = web.AppKey("KEY")


def bearer(request: web.Request) -> str:
    """Return the bearer token of a request, or an empty string."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_authorized(request: web.Request) -> bool:
    """Return whether the request carries the key; where no key was set, any token will do."""
    expected = request.app[KEY]
    token = bearer(request)
    if expected is None:
        return bool(token)
    return hmac.compare_digest(token.encode("utf-8", "surrogateescape"), expected.reveal().encode())
