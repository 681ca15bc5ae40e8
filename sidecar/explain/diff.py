"""What changes in effect between two policies, in words: values compared after defaults and the environment."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.policy.document.effective_values import values
from sidecar.policy.schema.policy_schema import PolicySchema


@dataclass(frozen=True, slots=True)
class Change:
    """One effective value that differs. `before` or `after` is None where the key exists in one policy only."""

    path: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.path}: added, {self.after}"
        if self.after is None:
            return f"{self.path}: removed, was {self.before}"
        return f"{self.path}: {self.before} → {self.after}"


def changes(old: PolicySchema, new: PolicySchema) -> list[Change]:
    """Return what differs, in the order of the schema; lists of named things are compared by name."""
    before, after = dict(values(old, by_name=True)), dict(values(new, by_name=True))
    found = [Change(path, value, after.get(path)) for path, value in before.items() if after.get(path) != value]
    found += [Change(path, None, value) for path, value in after.items() if path not in before]
    found += [each for name in ("routes", "rate_limits") if (each := _order(name, old, new)) is not None]
    return found


def _order(name: str, old: PolicySchema, new: PolicySchema) -> Change | None:
    """Return the change of order of what both policies have: the first route that matches wins."""
    before, after = ([each.name for each in getattr(schema, name)] for schema in (old, new))
    both = set(before) & set(after)
    was, now = ([each for each in names if each in both] for names in (before, after))
    return Change(f"{name} (order)", ", ".join(was), ", ".join(now)) if was != now else None
