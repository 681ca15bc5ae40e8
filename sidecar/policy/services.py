"""What outlives a policy: stores, clocks, books and counters that every policy is built upon."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from sidecar.clock import Clock
from sidecar.events import EventSink
from sidecar.guards.egress.phantom_key import HandleRegistry
from sidecar.guards.organization import Verify
from sidecar.guards.sessions.session_endpoint import Ended
from sidecar.messages.moderation import KeySupplier
from sidecar.responses.token_usage import Count
from sidecar.stores.interfaces import BanStore, RateStore, SessionStore
from sidecar.vault.models import KnownSecrets


def _uncounted(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Services:
    """What outlives a policy, and what policies are built upon.

    waits     the rate store is across the network
    secrets   the plain keys that answers must not hold; None without a vault
    key_of    provider → who supplies an organization's key for it (moderation)
    verify    tells the claims of a bearer token; None when there is no way to verify one
    reports   counts CSP reports
    handles   the book of phantom keys; None without a vault
    tokens    counts tokens that providers report
    ended     told of a session that was logged out: its handles end with it
    random    that many bytes nobody can foresee: ids of sessions are made of them
    """

    rates: RateStore
    waits: bool
    bans: BanStore
    sessions: SessionStore
    events: EventSink
    clock: Clock
    open_requests: dict[str, int]
    secrets: Callable[[], KnownSecrets] | None = None
    key_of: Callable[[str], KeySupplier] | None = None
    verify: Verify | None = None
    reports: Callable[[], None] = _uncounted
    handles: HandleRegistry | None = None
    tokens: Count = _uncounted
    ended: Ended | None = None
    random: Callable[[int], bytes] = os.urandom
