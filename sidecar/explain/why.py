"""Why a request was refused, from its log lines: what, by which guard, by which line of the policy, what to change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Record = Mapping[str, Any]
"""One line of the log, as `telemetry.log_record` writes it."""

REFUSED: Final = ("refused", "failed")

ADVICE: Final[Mapping[str, str]] = {
    "address": "take the address off clients.deny, or put its network on clients.allow",
    "ban": "lift the ban (DELETE /api/bans), or raise clients.ban.strikes",
    "bans": "lift the ban (DELETE /api/bans), or raise clients.ban.strikes",
    "host": "add the host to requests.hosts",
    "https": "send the client to https, or let trusted proxies say that TLS ended there (clients.trusted_proxies)",
    "user_agent": "take the entry out of requests.denied_user_agents",
    "cors": "if the page is yours, add its origin to cors.allowed_origins",
    "fetch_metadata": "if the page is yours, add its origin to cors.allowed_origins",
    "concurrency": "raise requests.concurrent_per_client, or let the client wait for its open streams",
    "rate_limits": "raise the limit, count it per session in place of per address, or reset the window",
    "session": "let the client ask for a session (POST /api/session), or write session: optional on the route",
    "session_id": "the id is not one that was issued: the client must drop it and ask for a session",
    "ownership": "the conversation belongs to another session; sign-in must renew the session (POST /api/session)",
    "message": "raise message.max_chars, or write message.markup or message.fields to fit what the client sends",
    "content_filter": "change the pattern, or try it first: observe: [content_filter] on the route",
    "moderation": "the moderation service flagged the text; content_filter.moderation: null switches it off",
    "handle": "make a new handle (sidecar handle create), or extend its expiry",
    "egress_path": "add the path to egress.providers.NAME.allow",
    "unmatched": "add a route for the path, or write unmatched: proxy",
    "request": "the client or a proxy in front of it must send a request that has one reading only",
    "body": "raise max_body on the route",
    "credential": "add or renew the organization's key (sidecar credentials add | rotate)",
}
"""What to change if the request should have passed, by guard."""

OWN: Final = "change its settings, or write observe: true into its section"
BACKEND: Final = "look at the backend: its log at that time, and backend.timeouts"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one request was refused, in the words of an operator.

    place   file and line of the policy; "" when no key of it caused the refusal
    policy  digest of the policy that was in force
    since   when such refusals began: the first of the same guard, place and policy in what was read
    """

    request_id: str
    at: str
    status: int
    code: str
    event: str
    method: str
    path: str
    route: str
    guard: str
    facts: Mapping[str, Any]
    place: str
    policy: str
    since: str
    change: str

    def lines(self) -> list[str]:
        """Return the four lines that `sidecar why` prints."""
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        where = self.place or "no key of the policy"
        return [
            f"refused  {self.status} {self.code} at {self.at}: {self.method} {self.path}, route {self.route}",
            f"by       {self.guard or 'the backend'}{f': {facts}' if facts else ''}",
            f"policy   {where} (digest {self.policy or 'unknown'}), since {self.since}",
            f"change   {self.change}",
        ]

    def plain(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"facts": dict(self.facts)}


def reason(records: Iterable[Record], request_id: str) -> Reason | None:
    """Return why a request was refused, or None when these records have no refusal of it.

    `records` are read once, in order of time; only the first refusal of each kind is kept.
    """
    found: Record | None = None
    first: dict[tuple[str, ...], str] = {}
    for record in records:
        if record.get("outcome") not in REFUSED or not isinstance(record.get("detail"), dict):
            continue
        first.setdefault(_kind(record), str(record.get("ts", "")))
        if record.get("request_id") == request_id and (found is None or _weight(record) > _weight(found)):
            found = record
    return None if found is None else _reason(found, first[_kind(found)])


def _weight(record: Record) -> int:
    """Rank the records of one request: the one that names a guard says most."""
    detail = record["detail"]
    return 2 * bool(detail.get("guard")) + bool(detail.get("code"))


def _kind(record: Record) -> tuple[str, ...]:
    detail = record["detail"]
    return tuple(str(detail.get(name, "")) for name in ("guard", "place", "policy", "code"))


def _reason(record: Record, since: str) -> Reason:
    detail = dict(record["detail"])
    guard, place, policy = (str(detail.pop(name, "") or "") for name in ("guard", "place", "policy"))
    code = str(detail.pop("code", "") or record.get("event") or "")
    return Reason(
        request_id=str(record.get("request_id", "")),
        at=str(record.get("ts", "")),
        status=int(record.get("status") or 0),
        code=code,
        event=str(record.get("event") or ""),
        method=str(record.get("method") or ""),
        path=str(record.get("path") or ""),
        route=str(record.get("route") or ""),
        guard=guard,
        facts=detail,
        place=place,
        policy=policy,
        since=since,
        change=ADVICE.get(guard, OWN if guard.startswith(("guards.", "guardrails.")) else BACKEND),
    )
