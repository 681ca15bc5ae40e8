"""The policy in force: swapped as a whole, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

from sidecar.clock import Clock
from sidecar.errors import ConfigError, PolicyError, Problem
from sidecar.events import EventSink, SecurityEvent
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.schema.listeners import Listen
from sidecar.vocabulary import Event, Outcome

MAX_LINES: Final = 100
"""Problems in one log line; the rest is counted."""
MAX_TEXT: Final = 8 * 1024
"""Bytes of them in JSON: a line that is too long would show none."""
_LONGEST: Final = 500
RELOADS: Final = 20
"""Reloads that are remembered."""


class Compiled(Protocol):
    """A policy that can be in force: it knows the document that it was made of."""

    @property
    def document(self) -> PolicyDocument:
        """The document that the policy was compiled from."""
        ...


T = TypeVar("T", bound=Compiled)


@dataclass(frozen=True, slots=True)
class Reload:
    """One policy that was tried: when (epoch seconds), whether it took, the digest of the one in force afterwards."""

    at: float
    successful: bool
    digest: str
    problems: tuple[str, ...] = ()


class LivePolicy(Generic[T]):
    """Hold the policy in force.

    `current` is read once per exchange, so that a reload never changes an exchange in flight.
    """

    def __init__(self, first: T, events: EventSink, clock: Clock) -> None:
        self.current = first
        self.last_reload_successful = True
        self.last_reload_at = clock.now()
        self.last_problems: tuple[str, ...] = ()
        self.reloads: deque[Reload] = deque([Reload(clock.now(), True, first.document.short_digest)], maxlen=RELOADS)
        self._listening = first.document.schema.listen
        self._events = events
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    def reload(self, compile_: Callable[[], T]) -> PolicyError | None:
        """Swap in what `compile_` returns, or keep the policy in force and return why."""
        return self._take(_outcome(compile_, self.current.document.source))

    async def reload_in_thread(self, compile_: Callable[[], T]) -> PolicyError | None:
        """Like `reload`, with files read and the policy compiled off the loop; one reload at a time."""
        async with self._one_at_a_time:
            return self._take(await asyncio.to_thread(_outcome, compile_, self.current.document.source))

    def _take(self, outcome: T | PolicyError) -> PolicyError | None:
        self.last_reload_at = self._clock.now()
        self.last_reload_successful = not isinstance(outcome, PolicyError)
        self.last_problems = tuple(outcome.lines()[:MAX_LINES]) if isinstance(outcome, PolicyError) else ()
        if isinstance(outcome, PolicyError):
            self._remember()
            self._rejected(outcome)
            return outcome
        before = self.current.document.digest
        self.current = outcome
        self._remember()
        self._reloaded(before)
        return None

    def _remember(self) -> None:
        digest = self.current.document.short_digest
        self.reloads.append(Reload(self.last_reload_at, self.last_reload_successful, digest, self.last_problems))

    def _reloaded(self, before: str) -> None:
        document = self.current.document
        detail: dict[str, object] = {
            "source": document.source,
            "digest": document.short_digest,
            "changed": document.digest != before,
        }
        waiting = changed_listeners(self._listening, document.schema.listen)
        if waiting:
            detail["restart_needed"] = f"{', '.join(waiting)} changed: listeners keep their addresses until a restart"
        if document.notes:
            detail["notes"] = _shown(map(str, document.notes))
        self._record(Event.POLICY_RELOADED, Outcome.ALLOWED, detail)

    def _rejected(self, error: PolicyError) -> None:
        detail = {
            "source": error.source,
            "digest_kept": self.current.document.short_digest,
            "problems": _shown(error.lines()),
            "count": len(error.problems),
        }
        self._record(Event.POLICY_REJECTED, Outcome.REFUSED, detail)

    def _record(self, event: Event, outcome: Outcome, detail: dict[str, object]) -> None:
        self._events.record(SecurityEvent(event, outcome, self._clock.now(), detail=detail))


def _shown(lines: Iterable[str]) -> list[str]:
    """Return the first lines, as many as fit into a line of the log."""
    found: list[str] = []
    left = MAX_TEXT
    for line in islice(lines, MAX_LINES):
        shown = line if len(line) <= _LONGEST else line[:_LONGEST] + "..."
        left -= len(json.dumps(shown))
        if left < 0:
            break
        found.append(shown)
    return found


def changed_listeners(running: Listen, wanted: Listen) -> list[str]:
    """Name the keys under `listen` that only a restart applies."""
    fields = type(running).model_fields
    return [f"listen.{name}" for name in fields if getattr(running, name) != getattr(wanted, name)]


def _outcome(compile_: Callable[[], T], source: str) -> T | PolicyError:
    try:
        return compile_()
    except PolicyError as error:
        return error
    except ConfigError as error:
        return PolicyError(source, [Problem("", str(error), "", 1, 1)])
    except Exception as error:  # noqa: BLE001 - a fault in a builder must not end a sidecar that runs well
        what = f"could not be compiled ({type(error).__name__})"
        return PolicyError(source, [Problem("", what, "report this with the policy", 1, 1)])
