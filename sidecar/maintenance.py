"""The state of maintenance mode, in which every request is refused with a message and Retry-After."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from sidecar.decision import Refuse
from sidecar.vocabulary import Code

MESSAGE: Final = Code.MAINTENANCE.sentence
RETRY_AFTER: Final = 300.0
"""Seconds, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What clients receive during maintenance. `retry_after` in seconds."""

    message: str
    retry_after: float

    def refusal(self) -> Refuse:
        """Return the refusal of every request."""
        fields = [(b"Retry-After", b"%d" % max(1, ceil(self.retry_after)))]
        return Refuse(Code.MAINTENANCE, {}, fields, sentence=self.message)


class MaintenanceSwitch:
    """Maintenance mode of this process, switched while it runs; it outlives policies."""

    def __init__(self) -> None:
        self.refusal: Refuse | None = None  # written by `on` and `off`
        self._notice: Notice | None = None

    def on(self, message: str, retry_after: float) -> None:
        """Refuse every request from now on."""
        self._notice = Notice(message or MESSAGE, retry_after)
        self.refusal = self._notice.refusal()

    def off(self) -> None:
        """Serve again, unless the policy itself says `maintenance`."""
        self._notice = self.refusal = None

    def state(self) -> Mapping[str, Any]:
        """Return `on`, and the notice when it is on."""
        notice = self._notice
        if notice is None:
            return {"on": False}
        return {"on": True, "message": notice.message, "retry_after": notice.retry_after}
