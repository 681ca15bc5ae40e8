"""The log: one line per fact, to standard output, standard error or a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar.bounded_cache import BoundedCache
from sidecar.clock import Clock
from sidecar.events import SecurityEvent, Served
from sidecar.telemetry.ecs import ecs
from sidecar.telemetry.log_record import (
    Known,
    Shape,
    TimestampFormatter,
    as_it_is,
    dump,
    event_fields,
    served_fields,
    served_line,
)
from sidecar.telemetry.log_writer import MOST_BYTES, LogFile, LogWriter
from sidecar.telemetry.request_outcome import is_processed_message
from sidecar.vocabulary import Event, Outcome

STREAMS: Final = ("stdout", "stderr")
FORMATS: Final[Mapping[str, Shape]] = {"json": as_it_is, "ecs": ecs}
LAST_LINES: Final = 2.0  # seconds that a target which is left has for what waits

KNOWN: Final = 1024 * 1024
"""Bytes of what lines say of organizations and paths."""


class Log:
    """An EventSink that writes JSON lines; a fact costs its serialising, never a wait."""

    def __init__(
        self,
        targets: Sequence[LogFile],
        clock: Clock,
        *,
        most_lines: int = 16_384,
        most_bytes: int = MOST_BYTES,
        access: bool = True,
        form: str = "json",
    ) -> None:
        self._clock = clock
        self._stamp = TimestampFormatter()
        self._known: Known = BoundedCache(KNOWN)
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._access = access
        self._shape = FORMATS[form]
        self._lost_before = 0
        self._writers = self._open(targets)

    def _open(self, targets: Sequence[LogFile]) -> tuple[LogWriter, ...]:
        bounds = {"most_lines": self._most_lines, "most_bytes": self._most_bytes}
        return tuple(LogWriter(target, self._lost, **bounds) for target in targets)

    @classmethod
    def to(cls, stream: str | None, file: Path | None, clock: Clock, *, access: bool = True, form: str = "json") -> Log:
        """Open what the policy names under `events`: `log: stdout | stderr | null`, `file`, `access` and `format`."""
        return cls(targets_of(stream, file), clock, access=access, form=form)

    def redirect(
        self, stream: str | None, file: Path | None, *, access: bool, form: str = "json"
    ) -> Callable[[], object]:
        """Write to other targets from the next line on; return what ends the old ones, and may take seconds.

        ConfigError when a target cannot be had: then nothing changes.
        """
        writers, self._writers = self._writers, self._open(targets_of(stream, file))
        self._access, self._shape = access, FORMATS[form]
        self._lost_before += sum(writer.dropped for writer in writers)
        return lambda: [writer.close(LAST_LINES) for writer in writers]

    def record(self, event: SecurityEvent) -> None:
        """Queue the log line of an event for every target."""
        line = dump(event_fields(event, self._stamp(event.at)), self._shape)
        for writer in self._writers:
            writer.put(line)

    def served(self, served: Served) -> None:
        """Queue a line for a processed message, and for every request when access lines are on."""
        processed = is_processed_message(served)
        if not (processed or self._access):
            return
        stamp, shape = self._stamp(served.at), self._shape
        plain = shape is as_it_is
        line = (
            served_line(served, stamp, processed, self._known) if plain else dump(served_fields(served, stamp), shape)
        )
        for writer in self._writers:
            writer.put(line, not processed)

    def dropped(self) -> int:
        """How many lines were lost since the start."""
        return self._lost_before + sum(writer.dropped for writer in self._writers)

    def reopen(self) -> None:
        """Open the file anew (SIGHUP after a rotation; a renamed file is also noticed by itself)."""
        for writer in self._writers:
            writer.reopen()

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until all that was recorded is written; False when that took too long."""
        return sum(writer.flush(timeout) for writer in self._writers) == len(self._writers)

    def close(self, timeout: float = 2.0) -> bool:
        """Write what waits and stop; False when a target took too long and lines are lost."""
        return sum(writer.close(timeout) for writer in self._writers) == len(self._writers)

    def _lost(self, count: int) -> bytes:
        """Return the line that reports how many lines were dropped. Called by the writing threads."""
        now = self._clock.now()
        event = SecurityEvent(Event.OVERLOADED, Outcome.FAILED, now, detail={"log_lines_dropped": count})
        return dump(event_fields(event, TimestampFormatter()(now)), self._shape)


def targets_of(stream: str | None, file: Path | None) -> list[LogFile]:
    """Open a stream, a file, both or neither."""
    targets = []
    if file is not None:
        targets.append(LogFile.file(file))
    if stream is not None:
        targets.append(LogFile((sys.stdout if stream == "stdout" else sys.stderr).fileno()))
    return targets
