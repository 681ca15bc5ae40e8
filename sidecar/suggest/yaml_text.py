"""Suggestions as an operator would write them: YAML routes, with what is known and what is not in comments. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.stores.csp_violations import Violation
from sidecar.stores.observations import Observations, Operation
from sidecar.suggest.routes import Suggestion, TextPlace, is_reachable, is_socket, suggestions, without_text

MAX_BODY: Final = 1 << 20
"""The default of `requests.max_body`: above it a route needs one of its own."""
_UNSAFE = re.compile(r"[^\x20-\x7e]")
LISTED: Final = 16


@dataclass(frozen=True, slots=True)
class KnownKind:
    """The kind that a backend certainly is of, and the operations that it reads; without a name, what it may be.

    strict  its headers are those of an API: a page of the same backend would not work with them
    """

    name: str = ""
    reads: frozenset[Operation] = frozenset()
    maybe: tuple[str, ...] = ()
    strict: bool = False


NO_KIND: Final = KnownKind()


def document(
    table: Observations,
    *,
    backend: str = "",
    kind: KnownKind = NO_KIND,
    violations: Sequence[tuple[Violation, int]] = (),
    proxies: Sequence[str] = (),
) -> dict[str, Any]:
    """Return all that was found, for programs: routes with their places, cookies, origins, and the YAML.

    backend  its URL: the YAML is a whole policy; without it, the sections to write into one
    """
    found = suggestions(table)
    return {
        "kind": kind.name or None,
        "routes": [_as_json(each) for each in found],
        "without_text": [f"{each.method} {each.path}" for each in without_text(table)],
        "cookies_read_by_scripts": sorted(table.cookies),
        "origins": sorted(table.origins),
        "csp_would_block": [{**violation._asdict(), "count": count} for violation, count in violations],
        "undeclared_proxies": list(proxies),
        "incomplete": table.overflowed,
        "yaml": text(table, found, backend=backend, kind=kind, violations=violations, proxies=proxies),
    }


def text(
    table: Observations,
    found: Sequence[Suggestion],
    *,
    backend: str = "",
    kind: KnownKind = NO_KIND,
    violations: Sequence[tuple[Violation, int]] = (),
    proxies: Sequence[str] = (),
) -> str:
    """Return the YAML."""
    lines = ["# Suggested from what was observed. Read it before you use it: decide about lines marked `unsure`."]
    if table.overflowed:
        lines.append("# More operations or places were seen than are remembered: this is not all.")
    lines += _backend(backend, kind, len(found))
    if proxies:
        lines += [
            f"# unsure: {len(proxies)} peers send forwarding headers; name those that are your proxies",
            "clients:",
        ]
        lines.append(f"  trusted_proxies: [{', '.join(map(_quoted, proxies[:LISTED]))}]")
    if table.origins:
        lines += ["# Pages of these origins asked; leave only your own.", "cors:"]
        lines.append(f"  allowed_origins: [{', '.join(map(_quoted, sorted(table.origins)[:LISTED]))}]")
    if table.cookies:
        lines += ["# Scripts of the page read these cookies and send their values back.", "cookies:"]
        lines.append(f"  readable: [{', '.join(map(_quoted, sorted(table.cookies)[:LISTED]))}]")
    for violation, count in violations[:LISTED]:
        lines.append(f"# CSP: {_plain(violation.directive)} would block {_plain(violation.blocked)} ({count} times)")
    if not found:
        lines.append("# No text was seen. Chat for a minute, with several different messages of more than one word.")
        return "\n".join([*lines, "routes: []", ""])
    lines.append("routes:")
    for number, each in enumerate(found):
        lines += _route(each, f"route-{number + 1}", by_kind=each.operation in kind.reads)
    rest = without_text(table)
    if rest:
        lines.append("# Seen without any text:")
        lines += [f"#   {_plain(each.method)} {_plain(each.path)}" for each in rest[: LISTED * 4]]
    return "\n".join([*lines, ""])


def _backend(url: str, kind: KnownKind, operations: int) -> list[str]:
    """Return the lines that name the backend and its kind."""
    lines = []
    if kind.name:
        lines.append(
            f"# kind {kind.name} reads {len(kind.reads)} of the {operations} operations with text, and its others."
        )
    elif kind.maybe:
        lines.append(
            f"# unsure: this looks like {' or '.join(kind.maybe)}: `sidecar kinds NAME` says what that would make"
        )
    if url:
        named = f", kind: {kind.name}" if kind.name else ""
        lines += ["version: 1", f"backend: {{ url: {_quoted(url)}{named} }}"]
    elif kind.name:
        lines.append(f"# write backend: {{ kind: {kind.name} }}")
    if kind.strict:
        lines += ["# For pages of this backend; leave it out if it has none.", "security_headers: { preset: app }"]
    return lines


def _route(each: Suggestion, name: str, *, by_kind: bool = False) -> list[str]:
    counts = each.counts
    usable = [place for place in each.sure if is_reachable(place)]
    what = "messages of a WebSocket" if is_socket(each) else "requests"
    told = [f"  # {counts.requests} {what}{_of(counts.kinds)}{_streams(counts.streams)}"]
    told += [f"  # text at {_named(place)}: {_figures(place)}" for place in each.sure]
    told += [f"  # unsure: {_named(place)}: {place.why} ({_figures(place)})" for place in each.places if not place.sure]
    told += [
        f"  # no route can name {_named(place)}: see `sidecar kinds` for a kind that reads it"
        for place in each.sure
        if not is_reachable(place) and not by_kind
    ]
    if counts.unreadable and not by_kind:
        told.append(f"  # unsure: {counts.unreadable} of them could not be read")
    if by_kind:
        return [*told, *(f"  {line}" for line in _yaml(each, name, "{}"))]
    without = counts.requests - max((place.counts.seen for place in usable), default=0)
    fields = ", ".join(_quoted(place.place.path) for place in usable)
    if not usable:
        return [*told, *(f"  # {line}" for line in _yaml(each, name, "{ fields: [] }"))]
    if without > 0:
        told.append(f"  # unsure: {without} of them had no text there; others like them pass unread, and are recorded")
    message = f"{{ fields: [{fields}]{', on_uninspectable: pass' if without > 0 else ''} }}"
    protocol = "auto" if any(place.place.form == "packet" for place in usable) else ""
    return [*told, *(f"  {line}" for line in _yaml(each, name, message, protocol))]


def _yaml(each: Suggestion, name: str, message: str, protocol: str = "") -> list[str]:
    operation = each.operation
    methods = "GET" if is_socket(each) else operation.method
    lines = [f"- name: {name}", f"  match: {{ path: {_quoted(operation.path)}, methods: [{methods}] }}"]
    if protocol:
        lines.append(f"  protocol: {protocol}")
    lines.append(f"  message: {message}")
    if each.counts.largest > MAX_BODY:
        lines.append(f"  max_body: {-(-each.counts.largest // MAX_BODY)}MiB")
    return lines


def _named(place: TextPlace) -> str:
    at = place.place
    words = {
        "json": "",
        "packet": "",
        "field": "form field ",
        "query": "query parameter ",
        "protobuf": "protobuf field ",
    }
    event = f" of the event {_plain(at.event)}" if at.event else ""
    return f"{words[at.form]}{_plain(at.path)}{event}"


def _figures(place: TextPlace) -> str:
    at = place.counts
    length = f"{at.shortest} to {at.longest}" if at.shortest != at.longest else f"{at.longest}"
    spaces = round(100 * at.spaces / at.texts)
    repeats = at.texts - at.different
    return f"{length} characters, {spaces} % spaces, {at.different} different, {repeats} repeated"


def _of(kinds: Iterable[str]) -> str:
    words = ", ".join(sorted(kinds))
    return f", {words}" if words else ""


def _streams(streams: Iterable[str]) -> str:
    words = ", ".join(sorted(streams))
    return f"; the answers stream ({words})" if words else ""


def _plain(text: str) -> str:
    """Write what a client named into a comment: one line of ASCII."""
    return _UNSAFE.sub("?", text)[:200]


def _quoted(text: str) -> str:
    """Write a YAML string; JSON's is one."""
    return json.dumps(text[:1024])


def _as_json(each: Suggestion) -> dict[str, Any]:
    operation: Operation = each.operation
    return {
        "method": operation.method,
        "path": operation.path,
        "requests": each.counts.requests,
        "body_kinds": sorted(each.counts.kinds),
        "streams": sorted(each.counts.streams),
        "unreadable": each.counts.unreadable,
        "places": [
            {
                **place.place._asdict(),
                "sure": place.sure,
                "why": place.why,
                "seen": place.counts.seen,
                "texts": place.counts.texts,
                "different": place.counts.different,
                "shortest": place.counts.shortest,
                "longest": place.counts.longest,
                "share_of_spaces": round(place.counts.spaces / place.counts.texts, 3),
            }
            for place in each.places
        ],
    }
