"""Single directives of a Content-Security-Policy, replaced or added. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def with_directives(policy: str, directives: Mapping[str, str]) -> str:
    """Return the policy with these directives in place of its own of the same name, the others as they are.

    `directives` maps a name (`img-src`) to its sources (`'self' data:`); new ones come last, in their order.
    """
    if not directives:
        return policy
    wanted = {name.lower(): sources for name, sources in directives.items()}
    parts: list[str] = []
    for part in policy.split(";"):
        name = part.split()[0].lower() if part.strip() else ""
        if name:
            parts.append(f"{name} {wanted.pop(name)}" if name in wanted else part.strip())
    return "; ".join([*parts, *(f"{name} {sources}" for name, sources in wanted.items())])
