"""Events and finished requests as values, with everything filled in."""

from __future__ import annotations

from typing import Any

from sidecar.events import SecurityEvent, Served
from sidecar.vocabulary import Event, Outcome

AT = 1_769_862_896.789  # 2026-01-31T12:34:56.789Z


def event(kind: Event = Event.CORS_BLOCKED, outcome: Outcome = Outcome.REFUSED, **changes: Any) -> SecurityEvent:
    fields: dict[str, Any] = {
        "at": AT,
        "request_id": "req-1",
        "client_ip": "203.0.113.9",
        "organization": "acme",
        "session": "deadbeef",
        "route": "chat",
        "method": "POST",
        "path": "/api/chat",
        "status": 403,
        "detail": {"origin": "https://evil.example"},
    }
    return SecurityEvent(kind, outcome, **(fields | changes))


def served(**changes: Any) -> Served:
    fields: dict[str, Any] = {
        "at": AT,
        "request_id": "req-1",
        "client_ip": "203.0.113.9",
        "organization": "acme",
        "session": "deadbeef",
        "route": "chat",
        "method": "POST",
        "path": "/api/chat",
        "status": 200,
        "duration": 0.0123,
        "overhead": 0.00008,
        "backend": 0.011,
        "received": 150,
        "sent": 420,
        "inspected": False,
    }
    if changes.get("inspected"):
        fields |= {"texts": 1, "characters": 5}
    return Served(**(fields | changes))
