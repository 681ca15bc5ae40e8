"""What is true at the moment of a scrape, asked from the parts that know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeVar

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyState:
    """Which policy is live: its digest, whether the last reload took, and when it was tried (epoch seconds)."""

    digest: str
    successful: bool
    at: float


@dataclass(frozen=True, slots=True)
class WebhookState:
    """Events for the webhook since the start: taken there, lost, and those that wait."""

    delivered: int
    lost: int
    waiting: int


@dataclass(frozen=True, slots=True)
class CredentialState:
    """One stored credential: when it expires (epoch seconds, None never) and whether a key opens it."""

    organization: str
    provider: str
    name: str
    expires: float | None
    undecryptable: bool = False


_NO_STREAMS: Final[Mapping[str, int]] = MappingProxyType({})
_NO_VIOLATIONS: Final[Mapping[str, int]] = MappingProxyType({})
_NO_BUDGETS: Final[Mapping[tuple[str, str], float]] = MappingProxyType({})
_NO_STORES: Final[Mapping[str, bool]] = MappingProxyType({})


def _no_streams() -> Mapping[str, int]:
    return _NO_STREAMS


def _no_credentials() -> Sequence[CredentialState]:
    return ()


def _unknown() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Gauges:
    """Functions that are called on the event loop at each scrape and return at once, from memory.

    None means that the number is unknown (the store is away): the gauge is left out.
    `stores` returns which shared stores answer: `{"redis": True}`; `budgets` which part of a budget is left to an
    organization.
    """

    active_requests: Callable[[], int | None] = _unknown
    active_streams: Callable[[], Mapping[str, int]] = _no_streams
    sessions: Callable[[], int | None] = _unknown
    bans: Callable[[], int | None] = _unknown
    stores: Callable[[], Mapping[str, bool]] = dict
    policy: Callable[[], PolicyState | None] = _unknown
    credentials: Callable[[], Sequence[CredentialState]] = _no_credentials
    log_dropped: Callable[[], int] = int
    csp_reports: Callable[[], int] = int
    csp_violations: Callable[[], Mapping[str, int]] = dict
    undeclared_proxies: Callable[[], int] = int
    descriptors_short: Callable[[], int] = int
    webhook: Callable[[], WebhookState | None] = _unknown
    budgets: Callable[[], Mapping[tuple[str, str], float]] = dict


@dataclass(frozen=True, slots=True)
class Reading:
    """The answers, as values that a thread can render."""

    active_requests: int | None = None
    active_streams: Mapping[str, int] = field(default_factory=dict)
    sessions: int | None = None
    bans: int | None = None
    stores: Mapping[str, bool] = field(default_factory=dict)
    policy: PolicyState | None = None
    credentials: Sequence[CredentialState] = ()
    log_dropped: int = 0
    csp_reports: int = 0
    csp_violations: Mapping[str, int] = field(default_factory=dict)
    undeclared_proxies: int = 0
    descriptors_short: int = 0
    webhook: WebhookState | None = None
    budgets: Mapping[tuple[str, str], float] = field(default_factory=dict)


T = TypeVar("T")


def read(gauges: Gauges) -> Reading:
    """Ask everything once. A part that fails to answer leaves its own gauge out, not the scrape."""
    return Reading(
        _answer(gauges.active_requests, None),
        dict(_answer(gauges.active_streams, _NO_STREAMS)),
        _answer(gauges.sessions, None),
        _answer(gauges.bans, None),
        dict(_answer(gauges.stores, _NO_STORES)),
        _answer(gauges.policy, None),
        tuple(_answer(gauges.credentials, ())),
        _answer(gauges.log_dropped, 0),
        _answer(gauges.csp_reports, 0),
        dict(_answer(gauges.csp_violations, _NO_VIOLATIONS)),
        _answer(gauges.undeclared_proxies, 0),
        _answer(gauges.descriptors_short, 0),
        _answer(gauges.webhook, None),
        dict(_answer(gauges.budgets, _NO_BUDGETS)),
    )


def _answer(question: Callable[[], T], otherwise: T) -> T:
    try:
        return question()
    except Exception as error:  # noqa: BLE001  the other metrics matter most when a part is broken
        _said(type(error).__name__, getattr(question, "__qualname__", ""))
        return otherwise


@lru_cache(maxsize=64)
def _said(kind: str, part: str) -> None:
    """Log once for each kind of failure: its gauge is left out of every scrape."""
    _LOG.error("metrics: %s is not known (%s)", part or "a gauge", kind)
