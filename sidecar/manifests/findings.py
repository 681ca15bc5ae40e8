"""What is wrong with manifests, each with its place and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.manifests.resources import Resource, Step


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, or a note about what is allowed and probably not meant."""

    line: int
    resource: str
    what: str
    instead: str
    note: bool = False

    def text(self, source: str) -> str:
        """Return it as one line: `FILE:line: Service/chat: what is wrong; what to write instead`."""
        mark = "note: " if self.note else ""
        return f"{source}:{self.line}: {mark}{self.resource}: {self.what}; {self.instead}"


@dataclass(slots=True)
class Findings:
    """Collects what is found."""

    found: list[Finding] = field(default_factory=list)

    def add(self, resource: Resource, path: tuple[Step, ...], what: str, instead: str) -> None:
        """Report a way around the sidecar, or a pod that would not work."""
        self.found.append(Finding(resource.line(*path), resource.title, what, instead))

    def note(self, resource: Resource, path: tuple[Step, ...], what: str, instead: str) -> None:
        """Report what is allowed and probably not meant."""
        self.found.append(Finding(resource.line(*path), resource.title, what, instead, note=True))

    @property
    def problems(self) -> list[Finding]:
        """What must be changed."""
        return [finding for finding in self.found if not finding.note]
