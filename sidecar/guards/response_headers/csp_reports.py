"""Where browsers report what the Content-Security-Policy blocked: counted, and answered with the line that allows it.

Anybody can send a report. So nothing but a directive of CSP and a host is taken from one, and nothing
hangs on it but counters and a bounded number of log lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from sidecar.decision import Answer, Detail, Finding
from sidecar.exchange import Exchange
from sidecar.guards.response_headers.csp_advice import Advice
from sidecar.guards.response_headers.security_header_values import DIRECTIVES
from sidecar.stores.csp_violations import OTHER, CspViolations, Violation
from sidecar.vocabulary import Event

MAX_BODY: Final = 64 * 1024
MAX_REPORTS: Final = 64
"""Reports of one request that are read: browsers send a page's in one."""

KEYWORDS: Final = frozenset(
    {"inline", "eval", "wasm-eval", "data", "blob", "self", "filesystem", "about"}
    | {"trusted-types-policy", "trusted-types-sink"}
)
HOST = re.compile(r"[a-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9a-f:.]{2,45}\](:[0-9]{1,5})?")


def violations(body: bytes) -> Iterator[Violation]:
    """Yield what a body reports, in the form of `report-uri` or of the Reporting API; nothing for other bodies."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    for entry in value[:MAX_REPORTS] if isinstance(value, list) else [value]:
        if not isinstance(entry, dict):
            continue
        report: Any = entry.get("csp-report")  # CSP 3 §5.3
        if report is None and entry.get("type") == "csp-violation":
            report = entry.get("body")  # Reporting API
        if isinstance(report, dict):
            yield _violation(report)


def _violation(report: dict[str, Any]) -> Violation:
    directive = _first(report, "effectiveDirective", "effective-directive", "violated-directive")
    name = directive.split(" ", 1)[0].lower()
    blocked = _first(report, "blockedURL", "blocked-uri")
    return Violation(name if name in DIRECTIVES else OTHER, blocked_source(blocked))


def _first(report: dict[str, Any], *names: str) -> str:
    found = (report.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), "")


def blocked_source(text: str) -> str:
    """Return what was blocked as one word: a keyword of CSP, a scheme's name, or the host of a URL without its path."""
    text = text[:2048].strip().lower()
    if text in KEYWORDS:
        return text
    try:
        url = urlsplit(text)
        host = url.netloc.rpartition("@")[2]
    except ValueError:
        return OTHER
    if url.scheme in KEYWORDS:
        return url.scheme
    if url.scheme.endswith("-extension"):
        return "extension"
    if HOST.fullmatch(host) is None:
        return OTHER
    return f"{url.scheme}://{host}" if url.scheme in ("ws", "wss", "http") else host


class CspReportGuard:
    """Read a browser's reports, and answer them. Asked as the only guard of the body of the reports' own path.

    advise  says which key of the policy decides about a violation, where it is, and what to write instead
    """

    name = "csp_reports"

    def __init__(self, counts: CspViolations, advise: Callable[[Violation], Advice]) -> None:
        self._counts = counts
        self._advise = advise

    def inspect(self, exchange: Exchange, body: bytes) -> Answer:
        """Count each violation of a report; answer 204 with one finding for each that is due to be reported."""
        self._counts.reports += 1
        findings = []
        for violation in violations(body):
            count = self._counts.note(violation, exchange.now)
            if count:
                advice = self._advise(violation)
                detail: Detail = {**violation._asdict(), "count": count, **advice._asdict()}
                findings.append(Finding(Event.CSP_VIOLATION, detail))
        return Answer(204, findings=tuple(findings))
