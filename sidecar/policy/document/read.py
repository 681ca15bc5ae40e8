"""Reads one policy: YAML, overrides from the environment, the schema, the checks across sections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from sidecar.errors import ConfigError, PolicyError, Problem
from sidecar.policy.document import validation_errors
from sidecar.policy.document.backend_kind import PREFIX, with_kind
from sidecar.policy.document.cross_checks import broken_rules
from sidecar.policy.document.environment import Origins, apply
from sidecar.policy.document.load import MAX_BYTES, Document, scan
from sidecar.policy.document.partial import PartialPolicy
from sidecar.policy.document.warnings import remarks
from sidecar.policy.kinds.catalogue import Kind
from sidecar.policy.schema.policy_schema import PolicySchema

_SHORT: Final = 16


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy that was read, but not yet built.

    schema    every value; of a policy with problems, those that are sound
    document  the YAML with the places of its values
    origins   which values the environment gave: key path → `environment:NAME`
    problems  what is wrong, located; a policy that has any is not used
    notes     what is right, but probably not meant
    digest    SHA-256 of the text and of what the environment gave, hex
    text_digest  SHA-256 of the text alone, hex: what a watcher compares with
    text      the YAML as it was read
    kind      what is known about the backend's kind, whose values are in `document` under those of the file
    """

    schema: PolicySchema
    document: Document
    digest: str
    text_digest: str
    origins: Origins = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    partial: PartialPolicy | None = None
    kind: Kind | None = None
    text: str = ""

    @property
    def source(self) -> str:
        """The file's path, or the name of where the text came from, as messages show it."""
        return self.document.source

    @property
    def short_digest(self) -> str:
        """The digest's first characters: what logs and metrics show."""
        return self.digest[:_SHORT]

    def locate(self, found: Iterable[Problem]) -> list[Problem]:
        """Return problems that a builder found, with the places of the file or the environment's names."""
        return [self._locate(problem) for problem in found]

    def refuse(self, found: Iterable[Problem] = ()) -> None:
        """Raise PolicyError if there is any problem: those of reading, and those that builders found."""
        # A part that several routes share is built several times, and its problem is one.
        every = dict.fromkeys((*self.problems, *self.locate(found)))
        if every:
            raise PolicyError(self.source, list(every))

    def origin(self, path: str) -> str:
        """Return where the value of a key comes from: `file:line`, `environment:NAME`, `kind:NAME` or `default`."""
        given = _given_by_environment(self.origins, path)
        if given:
            return given
        if self.document.holds(path) and self.document.origin(path):
            return self.document.origin(path)
        return f"{self.source}:{self.document.place(path)[0]}" if self.document.holds(path) else "default"

    def _locate(self, problem: Problem) -> Problem:
        if self.partial is not None and not problem.line:
            problem = self.partial.as_written(problem)
        return _placed(problem, self.document, self.origins)


def read_policy(source: Path | str | bytes, environ: Mapping[str, str]) -> PolicyDocument:
    """Read a policy from a file (Path) or a text (str, bytes); raise PolicyError with every problem."""
    document = draft_policy(source, environ)
    document.refuse()
    return document


def draft_policy(source: Path | str | bytes, environ: Mapping[str, str], *, name: str = "") -> PolicyDocument:
    """Read a policy and keep its problems, for a compiler that adds its own before it refuses.

    PolicyError is raised only when nothing is left to go on with (a text that is not YAML).
    """
    text: bytes | str = read_text(source) if isinstance(source, Path) else source
    document, found = scan(text, name or (str(source) if isinstance(source, Path) else "policy"))
    merged = with_kind(document)
    document = merged.document
    overridden = apply(document.tree, environ)
    found += overridden.problems
    partial: PartialPolicy | None = None
    try:
        schema = PolicySchema.model_validate(overridden.tree)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        found += [
            _placed(problem, document, overridden.origins) for problem in validation_errors.problems(errors, document)
        ]
        partial = PartialPolicy(overridden.tree, errors)
        if partial.schema is None:
            raise PolicyError(document.source, found) from None
        schema = partial.schema
    digest, given = text_digest(text), overridden.given
    whole = hashlib.sha256(digest.encode() + repr(sorted(given.items())).encode()).hexdigest() if given else digest
    written = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    policy = PolicyDocument(schema, document, whole, digest, overridden.origins, (), (), partial, merged.kind, written)
    problems = (*found, *policy.locate(broken_rules(schema, merged.made)))
    return replace(policy, problems=problems, notes=tuple(policy.locate(remarks(schema))))


def read_text(path: Path) -> bytes:
    """Return a policy file's bytes, at most one more than a policy may have."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise ConfigError(f"cannot read the policy {path}: {reason}; name its file, or set SIDECAR_POLICY") from None


def text_digest(text: bytes | str) -> str:
    """Return the SHA-256 of a policy's text, hex."""
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")).hexdigest()


def _placed(problem: Problem, document: Document, origins: Origins) -> Problem:
    """Put in the place in the file, or the name of the variable that gave the value, or the kind that did."""
    given = _given_by_environment(origins, problem.path)
    if given:
        return replace(problem, path=given, line=0, column=0)
    kind = document.origin(problem.path)
    if kind and not problem.path.startswith(PREFIX):
        return replace(problem, path=f"{kind} {problem.path}", line=0, column=0)
    return validation_errors.locate(problem, document)


def _given_by_environment(origins: Origins, path: str) -> str:
    """Return the variable that gave the value at this path, or the list that it is part of."""
    for key, given in origins.items():
        if path == key or path.startswith((f"{key}[", f"{key}.")):
            return given
    return ""
