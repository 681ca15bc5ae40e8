"""Rate limit headers: the two families, `Retry-After`, and the JSON of the status page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil
from typing import Final

import orjson

from sidecar.limit import Limit, LimitReport, Per, Take, Takes

PER_CLIENT: Final = frozenset({Per.IP, Per.SESSION, Per.USER})
CACHED: Final = 4096
"""Seconds whose text is remembered; a full cache is emptied."""

MILLISECONDS: Final = tuple(b".%03dZ" % number for number in range(1000))


def returns_after(take: Take) -> float:
    """Return in how many seconds the limit is whole again; once it is used up, when the next request would pass."""
    return take.reset_after if take.remaining > 0 else take.retry_after


def retry_after(take: Take) -> int:
    """Return whole seconds, never earlier than the truth, and never "at once" after a refusal."""
    return max(1, ceil(take.retry_after))


class RateLimitHeaders:
    """Render the lines of one list of limits. What depends on the policy alone is made here, once."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        quoted = [b'"%s"' % limit.name.encode() for limit in limits]
        sizes = [b";q=%d;w=%d" % (limit.limit, ceil(limit.window)) for limit in limits]
        policy = b", ".join(name + size for name, size in zip(quoted, sizes, strict=True))
        states = b", ".join(name + b";r=%d;t=%d" for name in quoted)
        self._lists = b"RateLimit-Policy: %s\r\nRateLimit: %s\r\n" % (policy, states)
        self._limits = limits
        self._client = tuple(number for number, limit in enumerate(limits) if limit.per in PER_CLIENT)
        self._organization = tuple(number for number, limit in enumerate(limits) if limit.per is Per.ORGANIZATION)
        # The organization limit whose state the headers report, where there is no choice.
        few = len(self._organization) < 2
        self._lone_organization = _tightest(self._organization, ()) if few else None
        self._texts: dict[tuple[int, int], bytes] = {}
        self._seconds: dict[int, bytes] = {}

    def render(self, takes: Takes, at: float) -> bytes:
        """Return complete lines; `at` is the moment of the takes in epoch seconds."""
        values: list[int | bytes] = []
        for _, remaining, retry, reset in takes:
            values += (remaining, ceil(reset if remaining > 0 else retry))
        client = _tightest(self._client, takes)
        lone = self._lone_organization
        organization = _tightest(self._organization, takes) if lone is None else lone
        for number in (client, organization):
            if number >= 0:
                _, remaining, retry, reset = takes[number]
                values += (remaining, self.moment(at + (reset if remaining > 0 else retry)))
        text = self._texts.get((client, organization)) or self._text(client, organization)
        return text % tuple(values)

    def _text(self, client: int, organization: int) -> bytes:
        """Prepare the header lines for the case that these two limits are the tightest of their families."""
        text = self._lists
        for number, prefix in ((client, b"X-RateLimit-"), (organization, b"X-RateLimit-Org-")):
            if number >= 0:
                text += prefix + b"Limit: %d\r\n" % self._limits[number].limit
                text += prefix + b"Remaining: %d\r\n" + prefix + b"Reset: %b\r\n"
        self._texts[client, organization] = text
        return text

    def moment(self, at: float) -> bytes:
        """Return ISO 8601 UTC with milliseconds, rounded up: never earlier than the truth."""
        millis = ceil(at * 1000)
        second = millis // 1000
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) >= CACHED:
                self._seconds.clear()
            text = self._seconds[second] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return text + MILLISECONDS[millis - second * 1000]


def _tightest(family: tuple[int, ...], takes: Takes) -> int:
    """Return which of a family has the least left; of equals, the one that lasts longest; -1 for no family."""
    chosen = family[0] if family else -1
    for number in family[1:]:
        left, least = takes[number].remaining, takes[chosen].remaining
        if left < least or (left == least and returns_after(takes[number]) > returns_after(takes[chosen])):
            chosen = number
    return chosen


def status_body(report: LimitReport | None, now: float) -> bytes:
    """Return the caller's own limits as JSON, without the subjects: they would end up in logs."""
    limits = []
    if report is not None:
        moment = RateLimitHeaders(()).moment
        for ask, take in zip(report.asks, report.takes, strict=True):
            limits.append(
                {
                    "name": ask.limit.name,
                    "per": str(ask.limit.per),
                    "limit": ask.limit.limit,
                    "window_seconds": ask.limit.window,
                    "remaining": max(0, take.remaining),
                    "reset": moment(report.at + returns_after(take)).decode(),
                    "retry_after": 0 if take.remaining > 0 else retry_after(take),
                }
            )
    return orjson.dumps({"now": RateLimitHeaders(()).moment(now).decode(), "limits": limits})
