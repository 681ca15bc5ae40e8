"""One call to a running sidecar's admin API, for commands."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.errors import ConfigError, SidecarError
from sidecar.secret import Secret

TIMEOUT: Final = 30.0
MAX_ANSWER: Final = 1024 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the address that was given, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(base: str, method: str, path: str, token: Secret, body: Mapping[str, Any] | None = None) -> Any:
    """Return the JSON of the response; SidecarError with one line for a refusal or when there is no response."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{base!r} is not the address of a management listener; write http://127.0.0.1:9090")
    request = urllib.request.Request(base.rstrip("/") + path, method=method)  # noqa: S310  the scheme was checked
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    # Unredirected: urllib would carry other headers over a redirect.
    request.add_unredirected_header("Authorization", f"Bearer {token.reveal()}")
    # No proxy of the environment sees the token.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            return json.loads(response.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            raise SidecarError(f"the sidecar refused: {_reason(error)}") from None
    except (OSError, http.client.HTTPException, ValueError):
        raise SidecarError(
            f"no sidecar answers at {base}; is it running, and is this its management address?"
        ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        answer = json.loads(error.read(MAX_ANSWER))
        return f"{answer['error']} ({error.code} {answer['code']})"
    except (ValueError, KeyError, TypeError, OSError):
        return f"status {error.code}"
