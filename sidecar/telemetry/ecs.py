"""Log lines in the Elastic Common Schema, and back.

`ecs` turns the object of a line into one with ECS's names (`events.format: ecs`); `from_ecs` turns it back, so that
`sidecar why` and `sidecar replay` read both. What ECS has no name for is under `sidecar`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidecar import __version__
from sidecar.vocabulary import Category, Event, Outcome

ECS_VERSION: Final = "8.11.0"
_SERVICE: Final = {"name": "chat-sidecar", "type": "proxy", "version": __version__}

OUTCOMES: Final[Mapping[str, str]] = {
    Outcome.ALLOWED: "success",
    Outcome.CHANGED: "success",
    Outcome.OBSERVED: "unknown",  # the guard would have refused, and the request went on
    Outcome.REFUSED: "failure",
    Outcome.FAILED: "failure",
}
"""Our `outcome` → `event.outcome`."""

TYPES: Final[Mapping[str, str]] = {
    Outcome.ALLOWED: "allowed",
    Outcome.CHANGED: "change",
    Outcome.OBSERVED: "info",
    Outcome.REFUSED: "denied",
    Outcome.FAILED: "error",
}
"""Our `outcome` → `event.type`."""

_OF_NAMES: Final = (
    ("AUTH_", "authentication"),
    ("API_KEY_", "authentication"),
    ("SESSION_", "session"),
    ("INVALID_SESSION", "session"),
    ("CREDENTIAL_", "iam"),
    ("HANDLE_", "iam"),
    ("POLICY_", "configuration"),
    ("ADMIN_", "configuration"),
    ("MAINTENANCE", "configuration"),
    ("STORE_", "database"),
    ("DATA_", "database"),
    ("IP_BANNED", "intrusion_detection"),
)
"""How an event's name begins → `event.category`. The first one that fits; all others are `web`."""


def category(event: Event) -> str:
    """Return `event.category` of ECS for an event."""
    return next((named for begins, named in _OF_NAMES if event.name.startswith(begins)), "web")


_CATEGORIES: Final[Mapping[str, str]] = {event.name: category(event) for event in Event}


def ecs(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line with ECS's names; what does not apply is left out."""
    event, outcome, detail = line["event"], line["outcome"], line["detail"]
    access = line["category"] == Category.ACCESS
    about: dict[str, Any] = {
        "kind": "event",
        "module": "sidecar",
        "dataset": f"sidecar.{str(line['category']).lower()}",
        "category": [_CATEGORIES.get(event, "web")],
        "type": ["access" if access else TYPES.get(outcome, "info")],
        "outcome": OUTCOMES.get(outcome, "unknown"),
    }
    if event is not None:
        about["action"] = event
    if "duration_ms" in detail:
        about["duration"] = round(detail["duration_ms"] * 1e6)  # nanoseconds, as ECS has it
    made: dict[str, Any] = {
        "@timestamp": line["ts"],
        "log.level": line["level"],
        "message": _message(line),
        "ecs.version": ECS_VERSION,
        "service": _SERVICE,
        "event": about,
    }
    if request := _without_none({"id": line["request_id"], "method": line["method"]}):
        made["http"] = {"request": request}
    if line["status"] is not None:
        made.setdefault("http", {})["response"] = {"status_code": line["status"]}
    if access or "received" in detail:
        _bytes(made, detail)
    for path, name in (("path", "url"), ("client_ip", "client"), ("organization", "organization")):
        if line[path] is not None:
            made[name] = {_LEAVES[path]: line[path]}
    if line.get("trace_id"):
        made["trace"] = {"id": line["trace_id"]}
    own = {name: line[name] for name in ("category", "outcome", "route", "session")}
    made["sidecar"] = {**_without_none(own), "detail": detail}
    return made


_LEAVES: Final = {"path": "path", "client_ip": "ip", "organization": "id"}


def _bytes(made: dict[str, Any], detail: Mapping[str, Any]) -> None:
    http = made.setdefault("http", {})
    for name, side in (("received", "request"), ("sent", "response")):
        if isinstance(detail.get(name), int):
            http.setdefault(side, {})["bytes"] = detail[name]


def _message(line: Mapping[str, Any]) -> str:
    words = [line["event"], line["outcome"], line["method"], line["path"], line["status"]]
    return " ".join(str(word) for word in words if word is not None)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def from_ecs(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a line in our own names; one that is not in ECS comes back as it is."""
    if "ecs.version" not in line:
        return line

    def at(*path: str) -> Any:
        value: Any = line
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    plain = {
        "ts": at("@timestamp"),
        "level": at("log.level"),
        "category": at("sidecar", "category"),
        "event": at("event", "action"),
        "outcome": at("sidecar", "outcome"),
        "request_id": at("http", "request", "id"),
        "client_ip": at("client", "ip"),
        "organization": at("organization", "id"),
        "session": at("sidecar", "session"),
        "route": at("sidecar", "route"),
        "method": at("http", "request", "method"),
        "path": at("url", "path"),
        "status": at("http", "response", "status_code"),
        "detail": at("sidecar", "detail") or {},
    }
    trace = at("trace", "id")
    return {**plain, "trace_id": trace} if trace else plain
