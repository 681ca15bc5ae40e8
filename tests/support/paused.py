"""A handler that pauses at every stage, as if each had to wait for a store across the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sidecar.decision import Decision, Inspection, Waiting
from sidecar.head import Fields
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.handler import Handler


class PausedHandler(Handler):
    """The same stages, each a turn of the loop later."""

    def admitted(self, decision: Decision | Waiting[Decision]) -> None:
        self._later(super().admitted, decision)

    def look_into(self, body: bytes) -> None:
        self._later(super().look_into, body)

    def looked_into(self, result: Inspection | Waiting[Inspection]) -> None:
        self._later(super().looked_into, result)

    def send(self, put: Fields) -> None:
        self._later(super().send, put)

    def converse(self, back: BackendConnection) -> None:
        self.back = back  # so that it is not lost when the client leaves meanwhile
        self._later(super().converse, back)

    def write_response(self, status: int, lines: bytes, body: bytes | None, unopened: bytes | None) -> None:
        self._later(super().write_response, status, lines, body, unopened)

    def _later(self, stage: Callable[..., None], *args: Any) -> None:
        self.wait(asyncio.sleep(0), lambda _: stage(*args))
