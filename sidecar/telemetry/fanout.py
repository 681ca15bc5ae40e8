"""An event sink that hands each fact to several sinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidecar.events import EventSink, SecurityEvent, Served


def _ignore() -> None:
    return None


class Fanout:
    """Hand each fact to every sink. One that fails is counted, and neither the others nor the request notice.

    A sink with a true attribute `only_events` is not told of finished requests.
    """

    def __init__(self, sinks: Sequence[EventSink], failed: Callable[[], None] = _ignore) -> None:
        self._records = tuple(sink.record for sink in sinks)
        self._served: tuple[Callable[[Served], None], ...] = tuple(
            sink.served for sink in sinks if not getattr(sink, "only_events", False)
        )
        self._failed = failed

    def follow(self, served: Callable[[Served], None]) -> None:
        """Hand the summaries of requests to one more function."""
        self._served = (*self._served, served)

    def leave(self, served: Callable[[Served], None]) -> None:
        """Hand it no more; one that does not follow is no mistake."""
        self._served = tuple(each for each in self._served if each != served)

    def record(self, event: SecurityEvent) -> None:
        """Hand an event to every sink, in order."""
        for record in self._records:
            try:
                record(event)
            except Exception:  # noqa: BLE001  recording must not break a request, whatever a sink does
                self._failed()

    def served(self, served: Served) -> None:
        """Hand the summary of a request to every sink that takes them, in order."""
        for record in self._served:
            try:
                record(served)
            except Exception:  # noqa: BLE001  as above
                self._failed()
