"""What each guard decided about a request, as values for a terminal or a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidecar.decision import Detail


@dataclass(frozen=True, slots=True)
class GuardReport:
    """The decision of one guard. `key` is the policy key that caused it, `place` its file and line."""

    guard: str
    decision: str  # pass, change, observe, answer, refuse
    detail: Detail = field(default_factory=dict)
    status: int = 0
    code: str = ""
    key: str = ""
    place: str = ""


@dataclass(slots=True)
class Explanation:
    """The decisions of all guards. `body` is what the backend would receive; only `sidecar explain` shows it."""

    request: Mapping[str, Any]
    policy: Mapping[str, Any]
    route: Mapping[str, Any] = field(default_factory=dict)
    words: list[GuardReport] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    backend: Mapping[str, Any] | None = None
    limits: Sequence[Mapping[str, Any]] = ()
    notes: list[str] = field(default_factory=list)
    body: bytes | None = None

    @property
    def decision(self) -> str:
        """`pass`, `answer` (here, without the backend) or `refuse`."""
        last = self.words[-1].decision if self.words else "pass"
        return last if last in ("answer", "refuse") else "pass"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it: names and counts, none of the body's text."""
        return {
            "decision": self.decision,
            "request": self.request,
            "policy": self.policy,
            "route": self.route,
            "steps": [_plain(word) for word in self.words],
            "not_asked": self.unasked,
            "backend": self.backend,
            "limits": self.limits,
            "notes": self.notes,
        }


def _plain(word: GuardReport) -> dict[str, Any]:
    said: dict[str, Any] = {"guard": word.guard, "decision": word.decision, "key": word.key, "place": word.place}
    if word.status:
        said["status"] = word.status
    if word.code:
        said["code"] = word.code
    if word.detail:
        said["detail"] = dict(word.detail)
    return said
