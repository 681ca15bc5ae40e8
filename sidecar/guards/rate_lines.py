"""How limits are told: the two header families, `Retry-After`, and the JSON of the status page."""

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


def returns_after(take: Take) -> float:
    """Return in how many seconds the limit is whole again; once it is used up, when the next request would pass."""
    return take.reset_after if take.remaining > 0 else take.retry_after


def retry_after(take: Take) -> int:
    """Return whole seconds, never earlier than the truth, and never "at once" after a refusal."""
    return max(1, ceil(take.retry_after))


class RateLines:
    """Render the lines of one list of limits. What depends on the policy alone is made here, once."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        quoted = [b'"%s"' % limit.name.encode() for limit in limits]
        policy = [
            b"%s;q=%d;w=%d" % (name, limit.limit, ceil(limit.window))
            for name, limit in zip(quoted, limits, strict=True)
        ]
        self._policy = b"RateLimit-Policy: %s\r\nRateLimit: " % b", ".join(policy)
        self._item = tuple(name + b";r=%d;t=%d" for name in quoted)
        self._client = self._family(limits, PER_CLIENT, b"X-RateLimit-")
        self._organization = self._family(limits, frozenset({Per.ORGANIZATION}), b"X-RateLimit-Org-")
        self._seconds: dict[int, bytes] = {}

    def render(self, takes: Takes, at: float) -> bytes:
        """Return complete lines; `at` is the moment of the takes in epoch seconds."""
        items = []
        for item, take in zip(self._item, takes, strict=True):
            after = take.reset_after if take.remaining > 0 else take.retry_after
            items.append(item % (take.remaining, ceil(after)))
        lines = self._policy + b", ".join(items) + b"\r\n"
        for family in (self._client, self._organization):
            if family:
                lines += self._tightest(family, takes, at)
        return lines

    def _family(self, limits: Sequence[Limit], kinds: frozenset[Per], prefix: bytes) -> tuple[tuple[int, bytes], ...]:
        text = prefix + b"Limit: %d\r\n" + prefix + b"Remaining: %%d\r\n" + prefix + b"Reset: %%s\r\n"
        return tuple((number, text % limit.limit) for number, limit in enumerate(limits) if limit.per in kinds)

    def _tightest(self, family: tuple[tuple[int, bytes], ...], takes: Takes, at: float) -> bytes:
        """Of several limits, the one with the least left speaks; of equals, the one that lasts longest."""
        number, text = family[0]
        chosen = takes[number]
        for other, words in family[1:]:
            take = takes[other]
            if take.remaining < chosen.remaining or (
                take.remaining == chosen.remaining and returns_after(take) > returns_after(chosen)
            ):
                chosen, text = take, words
        return text % (max(0, chosen.remaining), self.moment(at + returns_after(chosen)))

    def moment(self, at: float) -> bytes:
        """Return ISO 8601 UTC with milliseconds, rounded up: never earlier than the truth."""
        second, millis = divmod(ceil(at * 1000), 1000)
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) >= CACHED:
                self._seconds.clear()
            text = self._seconds[second] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%s.%03dZ" % (text, millis)


def status_body(report: LimitReport | None, now: float) -> bytes:
    """Return the caller's own limits as JSON. Subjects stay out: a caller knows who he is, a log of this need not."""
    limits = []
    if report is not None:
        moment = RateLines(()).moment
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
    return orjson.dumps({"now": RateLines(()).moment(now).decode(), "limits": limits})
