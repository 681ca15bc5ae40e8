"""What a sidecar that runs here has seen of proxies that its policy does not name, for `sidecar check`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Final

from sidecar.admin.roles import Role
from sidecar.cli.admin_call import admin_token
from sidecar.errors import ConfigError
from sidecar.policy.schema.string_types import Address

TIMEOUT: Final = 0.5
LARGEST: Final = 16 << 20
LISTED: Final = 5
REQUESTS = re.compile(rb"^sidecar_undeclared_proxy_requests_total (\d+)", re.MULTILINE)


def note(address: Address, environ: Mapping[str, str]) -> str:
    """Return a sentence about them; empty: there are none, or no sidecar answers at the management address.

    With JWT_SECRET it names the peers. Only this machine is asked: a policy that is checked may be another's, and
    its address must not be given a token.
    """
    everywhere = address.host in ("0.0.0.0", "::", "")  # noqa: S104
    if address.path or not (everywhere or address.loopback):
        return ""
    host = "127.0.0.1" if everywhere else address.host
    found = REQUESTS.search(_get(host, address.port, "/metrics"))
    requests = int(found[1]) if found is not None else 0
    if not requests:
        return ""
    peers = _peers(host, address.port, environ)
    of = f" ({', '.join(peers[:LISTED])}{', …' if len(peers) > LISTED else ''})" if peers else ""
    return (
        f"clients.trusted_proxies: the sidecar at {host}:{address.port} had {requests} requests with forwarding headers"
        f" of peers that it does not trust{of}; all clients behind such a peer count as one; name those that are your"
        " proxies"
    )


def _peers(host: str, port: int, environ: Mapping[str, str]) -> list[str]:
    try:
        token = admin_token(environ, Role.VIEWER)
    except ConfigError:
        return []
    try:
        body = json.loads(_get(host, port, "/api/policy", {"Authorization": f"Bearer {token.reveal()}"}))
    except ValueError:
        return []
    peers = body.get("undeclared_proxies") if isinstance(body, dict) else None
    return [str(each)[:64] for each in peers] if isinstance(peers, list) else []


def _get(host: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    connection = HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.read(LARGEST) if answer.status == 200 else b""
    except (OSError, HTTPException):
        return b""
    finally:
        connection.close()
