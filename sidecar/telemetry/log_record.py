"""One fact as one line of JSON, in the contract's key order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from sidecar.bounded_cache import BoundedCache
from sidecar.events import MAX_PATH, SecurityEvent, Served
from sidecar.prices import NANO
from sidecar.telemetry.request_outcome import detail, is_processed_message, outcome
from sidecar.vocabulary import Category, Event, Level

_TUPLE: Final = 500  # bytes of two tuples of six texts, besides their characters
MAX_LINE: Final = 16 * 1024  # a line that pipes, collectors and people still take whole

# By the event's number: hashing an enum member costs more than the rest of a lookup.
_HEADS: Final = tuple((event.level.value, event.category.value, event.name) for event in Event)
_PROCESSED: Final = Event.CHAT_MESSAGE_PROCESSED.name
_ACCESS: Final = Category.ACCESS.value
_SECURITY: Final = Category.SECURITY.value
_CHAT: Final = '"category":"SECURITY","event":"CHAT_MESSAGE_PROCESSED",'
_PLAIN: Final = '"category":"ACCESS","event":null,'
_INFO: Final = Level.INFO.value
_ERROR: Final = Level.ERROR.value


_THOUSANDTHS: Final = tuple(f".{number:03d}" for number in range(1000))
_MILLISECONDS: Final = tuple(text + "Z" for text in _THOUSANDTHS)


class TimestampFormatter:
    """Turn epoch seconds into `2026-01-31T12:34:56.789Z`; the second's text is made once a second.

    For one thread: each recorder has its own.
    """

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, at: float) -> str:
        offset = at - self._second
        # What rounds up to the next second is left to the slow way.
        if 0.0 <= offset < 0.9995:
            return self._text + _MILLISECONDS[int(offset * 1000 + 0.5)]
        second, millisecond = divmod(int(at * 1000 + 0.5), 1000)
        self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._second = second
        return self._text + _MILLISECONDS[millisecond]


def event_fields(event: SecurityEvent, stamp: str) -> dict[str, Any]:
    """Return the line's object for an event; what does not apply is null."""
    level, category, name = _HEADS[event.event.value]
    return {
        "ts": stamp,
        "level": level,
        "category": category,
        "event": name,
        "outcome": event.outcome.value,
        "request_id": event.request_id or None,
        "client_ip": event.client_ip or None,
        "organization": event.organization or None,
        "session": event.session or None,
        "route": event.route or None,
        "method": event.method or None,
        "path": _path(event.path) or None,
        "status": event.status or None,
        "detail": event.detail,
        **({"trace_id": event.trace_id} if event.trace_id else {}),
    }


def served_fields(served: Served, stamp: str) -> dict[str, Any]:
    """Return the line's object for a finished request: an ACCESS line, or a processed chat message."""
    processed = is_processed_message(served)
    return {
        "ts": stamp,
        "level": _ERROR if served.status >= 500 else _INFO,
        "category": _SECURITY if processed else _ACCESS,
        "event": _PROCESSED if processed else None,
        "outcome": outcome(served).value,
        "request_id": served.request_id or None,
        "client_ip": served.client_ip or None,
        "organization": served.organization or None,
        "session": served.session or None,
        "route": served.route or None,
        "method": served.method or None,
        "path": _path(served.path) or None,
        "status": served.status or None,
        "detail": detail(served),
        **({"trace_id": served.trace.trace_id} if served.trace is not None else {}),
    }


Known: TypeAlias = BoundedCache[tuple[str, ...], tuple[str, str]]
"""What a line says of organization, and of route, method and path, made once: "" where one of them is not plain."""


def served_line(served: Served, stamp: str, processed: bool, known: Known | None = None) -> bytes:
    """Return the line of a finished request: equal to `dump(served_fields(…))`, at a quarter of the cost.

    When every text is plain (printable ASCII without quotes and backslashes) nothing needs escaping.
    """
    what = (served.organization, served.route, served.method, served.path)
    said = known.get(what) if known is not None else None
    if said is None:
        said = _said_of(*what)
        if known is not None:
            known.remember(what, said, sum(map(len, what)) + len(said[0]) + len(said[1]) + _TUPLE)
    address, session, name, last = served.client_ip, served.session, served.request_id, served.provider_id
    organization, rest = said
    if not rest or not address or not name or not _is_plain(f"{name}{address}{session}{last}"):
        return dump(served_fields(served, stamp))
    session = f'"{session}"' if session else "null"
    if served.origin:
        if not _is_plain(served.origin):
            return dump(served_fields(served, stamp))
        last = f',"origin":"{served.origin}"'
    else:
        last = ""
    status, trace, backend, usage = served.status, served.trace, served.backend, served.usage
    if usage is not None:
        if not _is_plain(usage.model):
            return dump(served_fields(served, stamp))
        cost = "" if usage.cost is None else f',"cost_usd":{usage.cost / NANO}'
        estimated = ',"estimated":true' if usage.estimated else ""
        last += f',"model":"{usage.model}","input_tokens":{usage.given},"output_tokens":{usage.made}{cost}{estimated}'
    if served.provider_id:
        last = f',"provider_request_id":"{served.provider_id}"{last}'
    if served.texts:
        last = f',"texts":{served.texts},"characters":{served.characters}{last}'
    last = f'{last}}},"trace_id":"{trace.trace_id}"}}\n' if trace is not None else f"{last}}}}}\n"
    return (
        f'{{"ts":"{stamp}","level":"{"error" if status >= 500 else "info"}",{_CHAT if processed else _PLAIN}'
        f'"outcome":"{"allowed" if processed else outcome(served)}","request_id":"{name}","client_ip":"{address}",'
        f'{organization}"session":{session},{rest}"status":{status or "null"},'
        f'"detail":{{"duration_ms":{_milliseconds(served.duration)},"overhead_ms":{_milliseconds(served.overhead)},'
        f'"backend_ms":{_milliseconds(backend) if backend >= 0.0 else "null"},'
        f'"received":{served.received},"sent":{served.sent}{last}'
    ).encode()


def _said_of(organization: str, route: str, method: str, path: str) -> tuple[str, str]:
    free = f"{organization}{route}{method}{path}"
    if not (organization and method and path and _is_plain(free)) or "?" in path or len(free) > MAX_PATH:
        return "", ""
    route = f'"{route}"' if route else "null"
    return f'"organization":"{organization}",', f'"route":{route},"method":"{method}","path":"{path}",'


def _milliseconds(seconds: float) -> str:
    """Return milliseconds with three digits after the point, at a third of what a format costs."""
    if seconds < 0.0:
        return f"{seconds * 1000:.3f}"
    microseconds = int(seconds * 1e6 + 0.5)
    return f"{microseconds // 1000}{_THOUSANDTHS[microseconds % 1000]}"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text and len(text) <= MAX_PATH


Shape: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Gives a line's object other names."""


def as_it_is(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the line's object with our own names."""
    return fields


def dump(fields: dict[str, Any], shape: Shape = as_it_is) -> bytes:
    """Return one line of ASCII JSON with its newline. Never raises, never more than MAX_LINE.

    Everything but ASCII is escaped: a C1 control, a bidi override or a line separator in a path
    must not reach the terminal of a person who reads the log.
    """
    try:
        line = orjson.dumps(shape(fields), default=_plain, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        if not line.isascii():
            line = json.dumps(orjson.loads(line), separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):
        # Lone surrogates, numbers beyond 64 bits, a detail that is no value at all.
        line = _escaped(fields, shape)
    if len(line) > MAX_LINE:
        line = _escaped({**_shortened(fields), "detail": {"left_out": len(line)}}, shape)
    return line.replace(b"\x7f", b"\\u007f")


def _path(path: str) -> str:
    """Return a path without its query, bounded."""
    if "?" in path:
        path = path.partition("?")[0]
    return path if len(path) <= MAX_PATH else path[:MAX_PATH] + "..."


def _escaped(fields: dict[str, Any], shape: Shape) -> bytes:
    try:
        return json.dumps(shape(fields), default=_plain, separators=(",", ":"), skipkeys=True).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):
        return json.dumps(shape({**_shortened(fields), "detail": {}}), separators=(",", ":")).encode() + b"\n"


def _plain(value: object) -> object:
    """Return a JSON value for any other type: mappings stay mappings, a Secret becomes `Secret(***)`."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with every text cut to what its kind can honestly need."""
    return {name: value[:256] if isinstance(value, str) else value for name, value in fields.items()}
