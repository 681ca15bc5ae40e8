"""The matcher of the keys that this process knows, which follows the vault without holding up what else runs.

A new key is searched by a small matcher of its own from the first answer on that could hold it. Some time later
all keys are read into one matcher, in a thread, which then takes the place of the others. A key that is gone is
searched until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.prefilter import Prefilter, Question, either
from sidecar.redaction.scanner import Hit, Scanner, StreamFilter
from sidecar.redaction.stored_forms import StoredForms
from sidecar.secret import Secret
from sidecar.vault.models import KnownSecrets

FEW: Final = 4
"""So many keys are read in at once, wholly: 5 ms each."""
QUIET_SECONDS: Final = 1.0
"""How long matchers of new keys are kept before all keys are read into one: more may come."""

Later: TypeAlias = Callable[[Callable[[], SecretMatcher], Callable[[SecretMatcher | None], None]], bool]
"""Run the first elsewhere and hand its result, None if it failed, to the second; False: it cannot."""


class KnownMatcher(Scanner, Protocol):
    """A scanner of known secrets; see SecretMatcher."""

    size: int

    @property
    def forms(self) -> Sequence[StoredForms]:
        """What the secrets look like in bodies that are no text."""
        ...

    def questions(self, others: Prefilter) -> tuple[Question, Question]:
        """Return what is asked of a text before it is scanned."""
        ...


class MatcherGroup:
    """Several matchers as one: that of most keys first."""

    framing = True
    __slots__ = ("parts", "reach", "size")

    def __init__(self, parts: Sequence[SecretMatcher]) -> None:
        self.parts = tuple(parts)
        self.size = sum(part.size for part in parts)
        self.reach = max(part.reach for part in parts)

    @property
    def known(self) -> Scanner:
        """All of it looks for stored secrets."""
        return self

    @property
    def forms(self) -> Sequence[StoredForms]:
        """What the secrets look like in bodies that are no text."""
        return [form for part in self.parts for form in part.forms]

    def questions(self, others: Prefilter) -> tuple[Question, Question]:
        """Return the questions of all parts; the first shares an automaton with `others`."""
        nothing = Prefilter(b"", b"")
        asked = [part.questions(nothing if at else others) for at, part in enumerate(self.parts)]
        return either(*(one for one, _ in asked)), either(*(other for _, other in asked))

    def filter(self) -> StreamFilter:
        """Return the filter of one answer."""
        return StreamFilter(self)

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
        """Return the hits of all parts in order, and where the text turns live."""
        hits: list[Hit] = []
        live = len(text)
        for part in self.parts:
            found, begins = part.scan(text, before, final)
            hits += found
            live = min(live, begins)
        return sorted(hits), live


class KnownSecretsSource:
    """The matcher of all plain keys in this process: one for all routes and policies."""

    def __init__(self, secrets: Callable[[], KnownSecrets] | None, later: Later | None = None) -> None:
        self._secrets = secrets
        self._later = later or at_once
        self._generation = -1
        self._wanted: frozenset[str] = frozenset()
        self._parts: list[tuple[frozenset[str], SecretMatcher]] = []
        self._matcher: KnownMatcher | None = None
        self._reading = False

    def matcher(self) -> KnownMatcher | None:
        """Return what finds each key of the current set; None without a vault or without any plain key."""
        if self._secrets is None:
            return None
        known = self._secrets()
        if known.generation != self._generation:
            self._generation = known.generation
            self._follow(frozenset(secret.reveal() for secret in known.secrets))
        return self._matcher

    def _follow(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted
        new = wanted.difference(*(keys for keys, _ in self._parts))
        if len(wanted) <= FEW or not self._parts:
            self._show([(wanted, read(wanted))] if wanted else [])
            return
        if new:
            self._show([*self._parts, (new, read(new))])
        self._renew()

    def _show(self, parts: list[tuple[frozenset[str], SecretMatcher]]) -> None:
        self._parts = parts
        matchers = [matcher for _, matcher in parts]
        self._matcher = None if not matchers else matchers[0] if len(matchers) == 1 else MatcherGroup(matchers)

    def _renew(self) -> None:
        """Read all keys into one matcher, elsewhere, unless they are or that is under way."""
        if self._reading or [keys for keys, _ in self._parts] == [self._wanted]:
            return
        wanted, before = self._wanted, {id(matcher) for _, matcher in self._parts}

        def finished(matcher: SecretMatcher | None) -> None:
            self._reading = False
            if matcher is None or len(self._wanted) <= FEW:  # those have been read in meanwhile
                return
            self._show([(wanted, matcher), *(part for part in self._parts if id(part[1]) not in before)])
            self._renew()

        asked = self._parts[0][1].asked if self._parts else ()
        self._reading = self._later(lambda: read_wholly(wanted, asked), finished)
        if not self._reading:
            self._show([(wanted, read(wanted))])


def read(keys: Iterable[str]) -> SecretMatcher:
    """Return the matcher of some keys."""
    return SecretMatcher(map(Secret, sorted(keys)))


def read_wholly(keys: Iterable[str], asked: Iterable[Prefilter]) -> SecretMatcher:
    """Return the matcher of some keys with all that it would make when it is first needed."""
    matcher = read(keys)
    for others in asked:
        matcher.questions(others)
    _ = matcher.forms
    return matcher


def at_once(make: Callable[[], SecretMatcher], use: Callable[[SecretMatcher | None], None]) -> bool:  # noqa: ARG001
    """Run nothing elsewhere: where no loop runs, nothing is held up."""
    return False


class InThread:
    """Runs in a thread of the running loop, after `quiet` seconds."""

    def __init__(self, quiet: float = QUIET_SECONDS) -> None:
        self._quiet = quiet
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, make: Callable[[], SecretMatcher], use: Callable[[SecretMatcher | None], None]) -> bool:
        """Run `make`; see Later. False without a running loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        task = loop.create_task(self._run(make, use))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _run(self, make: Callable[[], SecretMatcher], use: Callable[[SecretMatcher | None], None]) -> None:
        await asyncio.sleep(self._quiet)
        made = None
        try:
            made = await asyncio.to_thread(make)
        finally:
            use(made)

    async def close(self) -> None:
        """End what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
