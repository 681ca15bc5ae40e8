"""Maintenance mode: every request is refused."""

from __future__ import annotations

from sidecar.decision import PASS, Decision
from sidecar.exchange import Exchange
from sidecar.maintenance import MaintenanceSwitch, Notice


class MaintenanceGuard:
    """Refuse every request while the switch is on, or while the policy says so."""

    name = "maintenance"

    def __init__(self, switch: MaintenanceSwitch, notice: Notice | None) -> None:
        self._switch = switch
        self._refusal = notice.refusal() if notice is not None else None

    def check(self, _: Exchange) -> Decision:
        """Refuse with 503, Retry-After and the operator's message, or pass."""
        return self._switch.refusal or self._refusal or PASS
