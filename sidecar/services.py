"""What outlives a policy: the stores, clocks and counters that each policy is built upon."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from sidecar.bounded_counts import BoundedCounts
from sidecar.clock import Clock
from sidecar.events import EventSink
from sidecar.maintenance import MaintenanceSwitch
from sidecar.secret import Secret
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.csp_violations import CspViolations
from sidecar.stores.interfaces import BanStore, RateStore, SessionStore
from sidecar.stores.observations import Observations
from sidecar.stores.provider_limits import ProviderLimits
from sidecar.stores.undeclared_proxies import UndeclaredProxies
from sidecar.vault.models import Grant, KnownSecrets

Verify: TypeAlias = Callable[[bytes], Mapping[str, Any] | None]
"""A bearer token → its claims; None when it is not a valid token of a known key."""

Ended: TypeAlias = Callable[[str, str], Awaitable[bool]]
"""Called with the organization and key of a session that was logged out: its handles end too.
False: a store was not reached; what could not be ended expires by itself."""

KeySupplier: TypeAlias = Callable[[str], Awaitable[Secret | None]]
"""Organization → its key for one provider, or None."""

Count: TypeAlias = Callable[[str, str, str, str, int], None]
"""Count tokens: organization, provider, model, direction, number."""


CountCost: TypeAlias = Callable[[str, str, str, int], None]
"""Count what tokens have cost: organization, provider, model, nano-dollars."""


class HandleRegistry(Protocol):
    """Resolves phantom keys: implemented by `vault.handles`."""

    async def resolve(self, token: str, provider: str, now: float) -> Grant:
        """Return the grant of a handle valid at `now` (epoch seconds). Raises HandleRefused or StoreUnavailable."""
        ...


class SecretMatchers(Protocol):
    """Finds the plain keys in answers, and follows their changes: implemented by `redaction.known_secrets`."""

    def matcher(self) -> Any:
        """Return the matcher of the current keys, None where there is none; the same object until they change."""
        ...


def _uncounted(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Services:
    """The stores, clocks and counters of the process.

    waits     the rate store is across the network
    secrets   the plain keys that answers must not hold; None without a vault
    matchers  finds those keys, for all policies of the process; None: each policy makes its own
    key_of    provider → supplier of an organization's key for it (moderation)
    verify    returns the claims of a bearer token; None when no key is known to verify one with
    csp       counts what browsers report about the Content-Security-Policy
    handles   resolves phantom keys; None without a vault
    tokens    counts tokens that providers report
    cost      counts what they cost
    budgets   what running requests hold of their budgets, and how much is left
    ended     told of a session that was logged out: its handles end with it
    started   epoch seconds since when this process remembers sessions; 0: a shared store does
    proxies   peers that send forwarding headers without being trusted
    provider_limits  until when providers refuse calls
    dropped_headers  counts request headers that clients may not send
    observations  what was observed of the backend, for suggestions
    random    returns that many unpredictable bytes, for session ids
    """

    rates: RateStore
    budgets: BudgetLedger
    waits: bool
    bans: BanStore
    sessions: SessionStore
    events: EventSink
    clock: Clock
    open_requests: dict[str, int]
    secrets: Callable[[], KnownSecrets] | None = None
    matchers: SecretMatchers | None = None
    key_of: Callable[[str], KeySupplier] | None = None
    verify: Verify | None = None
    csp: CspViolations = field(default_factory=CspViolations)
    handles: HandleRegistry | None = None
    tokens: Count = _uncounted
    cost: CountCost = _uncounted
    ended: Ended | None = None
    started: float = 0.0
    provider_limits: ProviderLimits = field(default_factory=ProviderLimits)
    proxies: UndeclaredProxies = field(default_factory=UndeclaredProxies)
    dropped_headers: BoundedCounts = field(default_factory=BoundedCounts)
    observations: Observations = field(default_factory=Observations)
    random: Callable[[int], bytes] = os.urandom
    maintenance: MaintenanceSwitch = field(default_factory=MaintenanceSwitch)
