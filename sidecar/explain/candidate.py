"""Judges a policy that is not in force: its problems, what it would change, what it would refuse of recent traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sidecar.errors import PolicyError, Problem
from sidecar.policy.compile import Compiled, compile_policy
from sidecar.policy.document.effective_values import values
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.dry_run import isolated_services
from sidecar.telemetry.history import Fact, lines_of


class Candidates:
    """Answers about the text of a policy as `sidecar check`, `diff` and `replay` do, compared with the one in force.

    read     makes a document of a text, with the environment of this process
    current  the document in force
    kept     returns the latest requests and refusals, in order of time

    The work is done in a thread, one at a time: `is_busy` says whether one runs.
    """

    def __init__(
        self,
        read: Callable[[str], PolicyDocument],
        current: Callable[[], PolicyDocument],
        kept: Callable[[], Sequence[Fact]],
    ) -> None:
        self._read = read
        self._current = current
        self._kept = kept
        self._one = asyncio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a policy is being judged now."""
        return self._one.locked()

    async def check(self, text: str) -> dict[str, Any]:
        """Return `ok`, and the problems, or the notes and digest of a policy that compiles."""
        return await self._judged(text, lambda compiled: fine(compiled.document))

    async def diff(self, text: str) -> dict[str, Any]:
        """Return the effective values that would change; `ok` False with the problems if it does not compile."""
        current = self._current()

        def compared(compiled: Compiled) -> dict[str, Any]:
            from sidecar.explain.diff import changes  # as for replays: not for a sidecar that is never asked

            found = changes(current.schema, compiled.document.schema)
            rows = [{"path": each.path, "before": each.before, "after": each.after} for each in found]
            return {"ok": True, "digest": compiled.document.digest, "changes": rows}

        return await self._judged(text, compared)

    async def replay(self, text: str) -> dict[str, Any]:
        """Return what the policy would refuse of the kept requests more or less than the one in force."""
        current, kept = self._current(), self._kept()

        def replayed(compiled: Compiled) -> dict[str, Any]:
            from sidecar.explain.replay import Replay, replay

            lines = lines_of(kept)
            old = Replay(compile_policy(current, isolated_services()))
            report = replay(lines, Replay(compiled), old).plain()
            return {"ok": True, **report, "since": lines[0]["ts"] if lines else None}

        return await self._judged(text, replayed)

    async def _judged(self, text: str, judge: Callable[[Compiled], dict[str, Any]]) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            try:
                return judge(compile_policy(self._read(text), isolated_services()))
            except PolicyError as error:
                return broken(error)

        async with self._one:
            return await asyncio.to_thread(work)


def listing(document: PolicyDocument, wanted: set[str] | None = None) -> list[tuple[str, str, str]]:
    """Return (key path, value, where it comes from) of every value, or of those that are wanted."""
    return [
        (path, value, document.origin(path))
        for path, value in values(document.schema)
        if wanted is None or path in wanted
    ]


def fine(document: PolicyDocument) -> dict[str, Any]:
    """Return what is said of a policy that compiles."""
    return {
        "ok": True,
        "source": document.source,
        "digest": document.digest,
        "problems": [],
        "notes": [plain(note) for note in document.notes],
    }


def broken(error: PolicyError) -> dict[str, Any]:
    """Return every problem of a policy that does not compile, each with the line that people read."""
    problems = [{**plain(problem), "text": line} for problem, line in zip(error.problems, error.lines(), strict=True)]
    return {"ok": False, "source": error.source, "problems": problems}


def plain(problem: Problem) -> dict[str, Any]:
    """Return a problem for JSON."""
    return {
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "what": problem.what,
        "instead": problem.instead,
    }
