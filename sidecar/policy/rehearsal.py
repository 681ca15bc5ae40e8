"""A stage on which a policy is built and nothing happens: for `sidecar check` and the like."""

from __future__ import annotations

from sidecar.clock import SystemClock
from sidecar.events import SecurityEvent, Served
from sidecar.policy.stage import Stage
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.memory_sessions import MemorySessionStore


class Unheard:
    """An EventSink that keeps nothing."""

    def record(self, event: SecurityEvent) -> None:
        """Say nothing."""

    def served(self, served: Served) -> None:
        """Say nothing."""


def rehearsal() -> Stage:
    """Return a stage in memory: no key, no network, no file but those that the policy names."""
    return Stage(
        rates=MemoryRateStore(),
        waits=False,
        bans=MemoryBanStore(),
        sessions=MemorySessionStore(),
        events=Unheard(),
        clock=SystemClock(),
        open_requests={},
    )
