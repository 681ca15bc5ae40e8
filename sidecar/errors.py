"""What can break, and the problems that a document can have."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field


class SidecarError(Exception):
    """A failure whose message is one line for an operator and contains no secret."""


class ConfigError(SidecarError):
    """The environment, the command line or a file named there is wrong: exit code 2."""


def cannot_listen(address: str, error: OSError) -> SidecarError:
    """Return the error of an address that cannot be listened on."""
    taken = error.errno == errno.EADDRINUSE
    says = "is in use by another process" if taken else (error.strerror or "cannot be used")
    return SidecarError(f"cannot listen on {address}: the address {says}")


class StoreUnavailable(SidecarError):
    """A shared store did not answer in time, or answered that it cannot serve."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a policy.

    `path` is the key's path (`cors.allowed_origins[1]`), `what` the fault, `instead` what to write.
    Line and column count from 1 and are filled in by the document; 0: the place is not in the file.
    """

    path: str
    what: str
    instead: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        says = f"{self.what}; {self.instead}" if self.instead else self.what
        return f"{self.path}: {says}" if self.path else says


@dataclass(slots=True)
class Problems:
    """Collect problems under a path, so that builders report all of them and go on.

    >>> problems = Problems(); problems.at("cors").at("allowed_origins[0]").add("is empty")
    """

    path: str = ""
    found: list[Problem] = field(default_factory=list)

    def at(self, step: str) -> Problems:
        """Return a view on the same list, one step deeper; `[0]` joins without a dot."""
        joined = f"{self.path}{step}" if step.startswith("[") or not self.path else f"{self.path}.{step}"
        return Problems(joined, self.found)

    def add(self, what: str, instead: str = "") -> None:
        """Record what is wrong with the value at this path; `instead` says what to write in its place."""
        self.found.append(Problem(self.path, what, instead))


class PolicyError(SidecarError):
    """A policy does not compile; carries every problem."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = sorted(problems, key=lambda p: (p.line, p.column))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Return `FILE:line:column: key.path: what is wrong; what to write instead`, one a problem."""
        return [self._line(p) for p in self.problems]

    def _line(self, problem: Problem) -> str:
        # A value from the environment has no line: its place is its name, `environment:ALLOWED_ORIGINS`.
        place = "" if problem.path.startswith("environment:") else f"{self.source}:{problem.line}:{problem.column}: "
        return f"{place}{problem}"
