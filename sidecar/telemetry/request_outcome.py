"""The outcome of a finished request, as the log, the metrics and the console report it."""

from __future__ import annotations

from sidecar.events import SecurityEvent, Served
from sidecar.exchange import TokensUsed
from sidecar.prices import NANO
from sidecar.vocabulary import Event, Outcome


def is_processed_message(served: Served) -> bool:
    """Return whether this was a message whose texts were looked at, and that the backend answered."""
    return served.inspected and served.texts > 0 and served.backend >= 0.0 and 100 <= served.status < 500


def outcome(served: Served) -> Outcome:
    """Return the outcome of an access line: by its status and whether the backend was asked."""
    if served.status >= 500 or served.status < 100:
        return Outcome.FAILED
    if served.status >= 400 and served.backend < 0.0:
        return Outcome.REFUSED
    return Outcome.ALLOWED


def detail(served: Served) -> dict[str, int | float | str | None]:
    """Return times in milliseconds, sizes in bytes, a message's texts, the provider's id: as in the access line."""
    looked_at = {"texts": served.texts, "characters": served.characters} if served.texts else {}
    found: dict[str, int | float | str | None] = {
        "duration_ms": round(served.duration * 1000, 3),
        "overhead_ms": round(served.overhead * 1000, 3),
        "backend_ms": round(served.backend * 1000, 3) if served.backend >= 0.0 else None,
        "received": served.received,
        "sent": served.sent,
        **looked_at,
    }
    if served.provider_id:
        found["provider_request_id"] = served.provider_id
    if served.origin:
        found["origin"] = served.origin
    if served.usage is not None:
        found |= usage_fields(served.usage)
    return found


def usage_fields(usage: TokensUsed) -> dict[str, int | float | str | None]:
    """Return the tokens of a request, and their cost if it is known."""
    found: dict[str, int | float | str | None] = {
        "model": usage.model if usage.model.isprintable() else "",
        "input_tokens": usage.given,
        "output_tokens": usage.made,
    }
    if usage.cost is not None:
        found["cost_usd"] = usage.cost / NANO
    if usage.estimated:
        found["estimated"] = True
    return found


def as_event(served: Served) -> SecurityEvent:
    """Return the CHAT_MESSAGE_PROCESSED event of a processed message."""
    return SecurityEvent(
        Event.CHAT_MESSAGE_PROCESSED,
        outcome(served),
        served.at,
        served.request_id,
        served.client_ip,
        served.organization,
        served.session,
        served.route,
        served.method,
        served.path,
        served.status,
        detail(served),
        served.trace.trace_id if served.trace is not None else "",
    )
