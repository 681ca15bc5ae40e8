"""Replays logged requests through another policy: which of them it would refuse that passed, and the reverse.

A request is rebuilt from its access line. The line has no header, query or text, so only these are decided: the
client's address, the route, the origin, rate limits, whether a session is there, and the sizes of body and message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network
from typing import Any, Final

from sidecar.admission import admit
from sidecar.decision import Refuse
from sidecar.exchange import Exchange
from sidecar.guard import Step
from sidecar.head import RequestHead
from sidecar.policy.compile import Compiled
from sidecar.policy.dry_run import NullEventSink
from sidecar.policy.policy import Route
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route as RouteSchema
from sidecar.session import Session
from sidecar.telemetry.ecs import from_ecs
from sidecar.vocabulary import Code

ASKED: Final = frozenset({"address", "cors", "rate_limits", "unmatched", "maintenance"})
"""Guards that an access line tells enough for."""

EXAMPLES: Final = 3
"""Request ids that are kept of each kind of difference."""

MOST_GROUPS: Final = 10_000
"""Kinds of difference that are counted apart; more are counted as `other`."""

PROCESSED: Final = "CHAT_MESSAGE_PROCESSED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy does with one request. `guard` and `code` are "" when it passes."""

    guard: str = ""
    code: str = ""
    observed: bool = False

    @property
    def refuses(self) -> bool:
        """Whether the request would be refused."""
        return self.code != ""


PASSES: Final = Verdict()


class Replay:
    """One policy, asked about requests in the order of their time; its rate limit windows fill as they come."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._policy = compiled.public
        self._schema: PolicySchema = compiled.schema
        self._routes: dict[str, RouteSchema] = {route.name: route for route in compiled.schema.routes}
        self._steps: dict[str, tuple[Step, ...]] = {}
        self._events = NullEventSink()

    def verdict(self, line: Mapping[str, Any], origin: str) -> Verdict:
        """Return what the policy does with the request of an access line; `origin` "" when it had none."""
        exchange = _exchange(line, origin)
        route = self._policy.routes.find(exchange.head.method, exchange.head.path)
        if route is None:
            return Verdict("request", Code.REQUEST_MALFORMED.name)
        exchange.route = route.name
        decision = admit(exchange, self._asked(route), self._events)
        if isinstance(decision, Refuse):
            return Verdict(exchange.refused_by, decision.code.name)
        return self._of_body(line, route, exchange)

    def _asked(self, route: Route) -> tuple[Step, ...]:
        steps = self._steps.get(route.name)
        if steps is None:
            steps = self._steps[route.name] = tuple(step for step in route.steps if step.guard.name in ASKED)
        return steps

    def _of_body(self, line: Mapping[str, Any], route: Route, exchange: Exchange) -> Verdict:
        schema = self._routes.get(route.name)
        detail = _detail(line)
        if int(detail.get("received") or 0) > route.max_body + self._schema.requests.max_header_bytes:
            return Verdict("body", Code.BODY_TOO_LARGE.name)
        if schema is None:
            return PASSES
        if schema.session == "required" and exchange.session is None and self._schema.enforces("session", schema):
            return Verdict("session", Code.INVALID_SESSION_ID.name)
        most = schema.message.max_chars if schema.message is not None else None
        # A line has the length of all texts together: only one text is certainly the last one.
        certain = int(detail.get("texts") or 0) == 1
        too_long = most is not None and certain and int(detail.get("characters") or 0) > most
        if too_long and self._schema.enforces("message", schema):
            return Verdict("message", Code.MESSAGE_TOO_LONG.name)
        return PASSES


@dataclass(slots=True)
class Group:
    """Requests that differ in the same way."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What another policy would have changed.

    requests  access lines that were read
    skipped   lines that are no access line of a request
    before, after  requests that are refused by each policy
    more, less     (route, guard, code, network) → requests that only the new, or only the old, policy refuses
    """

    requests: int = 0
    skipped: int = 0
    before: int = 0
    after: int = 0
    more: dict[tuple[str, str, str, str], Group] = field(default_factory=dict)
    less: dict[tuple[str, str, str, str], Group] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "requests": self.requests,
            "skipped": self.skipped,
            "refused_before": self.before,
            "refused_after": self.after,
            "more": _plain(self.more),
            "less": _plain(self.less),
        }


def replay(lines: Iterable[Mapping[str, Any]], new: Replay, old: Replay | None) -> Report:
    """Run the requests of a log, in order, through `new` and compare with `old`, or with what the log says happened."""
    report = Report()
    refusals: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        request_id = str(line.get("request_id") or "")
        if not _is_request(line):
            report.skipped += 1
            if line.get("outcome") == "refused" and request_id:
                refusals[request_id] = line  # its access line follows
                if len(refusals) > MOST_GROUPS:
                    refusals.pop(next(iter(refusals)))
            continue
        refusal = refusals.pop(request_id, None)
        report.requests += 1
        origin = str(_detail(line).get("origin") or _detail(refusal).get("origin") or "")
        after = new.verdict(line, origin)
        before = old.verdict(line, origin) if old is not None else _happened(line, refusal)
        report.before += before.refuses
        report.after += after.refuses
        if after.refuses and not before.refuses:
            _count(report.more, line, after)
        elif before.refuses and not after.refuses:
            _count(report.less, line, before)
    return report


def _count(groups: dict[tuple[str, str, str, str], Group], line: Mapping[str, Any], verdict: Verdict) -> None:
    key = (str(line.get("route") or ""), verdict.guard, verdict.code, _network(str(line.get("client_ip") or "")))
    if key not in groups and len(groups) >= MOST_GROUPS:
        key = ("other", verdict.guard, verdict.code, "other")
    group = groups.setdefault(key, Group())
    group.count += 1
    if len(group.examples) < EXAMPLES:
        group.examples.append(str(line.get("request_id") or ""))


def _plain(groups: Mapping[tuple[str, str, str, str], Group]) -> list[dict[str, Any]]:
    names = ("route", "guard", "code", "network")
    rows: list[dict[str, Any]] = [
        {**dict(zip(names, key, strict=True)), "count": group.count, "examples": group.examples}
        for key, group in groups.items()
    ]
    return sorted(rows, key=lambda row: -int(row["count"]))


def _happened(line: Mapping[str, Any], refusal: Mapping[str, Any] | None) -> Verdict:
    """Return what the log says of a request."""
    if refusal is not None:
        detail = _detail(refusal)
        return Verdict(str(detail.get("guard") or ""), str(detail.get("code") or refusal.get("event")))
    return Verdict("", str(line.get("status"))) if line.get("outcome") == "refused" else PASSES


def _is_request(line: Mapping[str, Any]) -> bool:
    kind = line.get("category") == "ACCESS" or line.get("event") == PROCESSED
    return kind and bool(line.get("method")) and bool(line.get("path")) and _at(line) is not None


def _exchange(line: Mapping[str, Any], origin: str) -> Exchange:
    at = _at(line) or 0.0
    path = str(line["path"])
    index = {b"host": b"replay.invalid"}
    if origin:
        index[b"origin"] = origin.encode("latin-1", "replace")
    fields = [(name, name + b": " + value) for name, value in index.items()]
    head = RequestHead(str(line["method"]), path.encode("latin-1", "replace"), path, 1, fields, index)
    made = Exchange(str(line.get("request_id") or ""), at, at, head, str(line.get("client_ip") or ""), True)
    made.organization = str(line.get("organization") or "default")
    session = str(line.get("session") or "")
    if session:
        made.session_key = session
        made.session = Session(session, made.organization, at, at, _network(made.peer), made.peer)
    return made


def _at(line: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(line.get("ts"))).timestamp()
    except ValueError:
        return None


def _network(address: str) -> str:
    try:
        return str(ip_network(f"{address}/{64 if ':' in address else 24}", strict=False))
    except ValueError:
        return ""


def _detail(line: Mapping[str, Any] | None) -> Mapping[str, Any]:
    detail = line.get("detail") if line is not None else None
    return detail if isinstance(detail, dict) else {}


def records(lines: Iterable[bytes], parse: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects among lines of text; what is no object is left out."""
    for line in lines:
        try:
            record = parse(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield from_ecs(record)
