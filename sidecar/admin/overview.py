"""What happens now, in one answer: the last hour, and the state of every part."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sidecar import __version__
from sidecar.admin.api_request import ApiRequest, ApiResponse, iso

SOON: Final = 7 * 86_400.0  # seconds before its expiry in which a credential is shown as expiring
MOST_PEERS: Final = 20


async def show(call: ApiRequest) -> ApiResponse:
    """`GET /api/overview`: the last hour in minutes, and the state of policy, stores, vault and backend."""
    call.needs_all()
    parts = call.parts
    now = parts.clock.now()
    reading = parts.metrics.read()
    hour = parts.history.hour()
    state = parts.policy.state()
    return ApiResponse(
        {
            "at": iso(now),
            "replica": socket.gethostname(),
            "version": __version__,
            **hour,
            "backend": {**hour["backend"], "not_ready": await parts.backend_ready()},
            "policy": {
                "digest": state.get("digest"),
                "mode": state.get("mode"),
                "loaded_at": iso(state.get("loaded_at")),
                "successful": state.get("successful"),
            },
            "not_ready": list(parts.not_ready()),
            "maintenance": parts.maintenance.state(),
            "active_requests": reading.active_requests,
            "streams": dict(reading.active_streams),
            "sessions": reading.sessions,
            "bans": parts.bans.count(),
            "stores": {name: "up" if is_up else "down" for name, is_up in parts.stores().items()},
            "vault": _vault(reading.credentials, now) if parts.credentials is not None else None,
            "undeclared_proxies": list(parts.undeclared_proxies())[:MOST_PEERS],
            "dropped_headers": dict(parts.dropped_headers()),
            "log_dropped": reading.log_dropped,
        }
    )


def _vault(credentials: Sequence[Any], now: float) -> Mapping[str, int]:
    """Count the stored credentials by what an operator has to do about them."""
    ends = [each.expires for each in credentials if each.expires is not None and not each.undecryptable]
    return {
        "credentials": len(credentials),
        "expired": sum(end <= now for end in ends),
        "expiring": sum(now < end <= now + SOON for end in ends),
        "undecryptable": sum(bool(each.undecryptable) for each in credentials),
    }
