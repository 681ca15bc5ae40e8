"""Values of the environment that replace those of the policy."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sidecar.errors import Problem
from sidecar.policy.schema.limits_and_sessions import DEFAULT_LIMITS
from sidecar.policy.schema.quantities import seconds

PREFIX: Final = "environment:"
ALLOWED_ORIGINS: Final = "ALLOWED_ORIGINS"
PER_MINUTE: Final = "MAX_REQUESTS_PER_MINUTE"
PER_HOUR: Final = "MAX_REQUESTS_PER_HOUR"
SESSION_HOURS: Final = "SESSION_MAX_AGE_HOURS"
NAMES: Final = (ALLOWED_ORIGINS, PER_MINUTE, PER_HOUR, SESSION_HOURS)
WINDOWS: Final = {PER_MINUTE: 60.0, PER_HOUR: 3600.0}

Origins: TypeAlias = Mapping[str, str]
"""Key path → `environment:NAME`."""


@dataclass(slots=True)
class EnvironmentOverrides:
    """The tree with the environment's values in it, and which they are."""

    tree: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def put(self, path: str, name: str) -> None:
        """Note that the variable `name` (without its prefix) gave the value at `path`."""
        self.origins[path] = PREFIX + name

    def complain(self, name: str, what: str, instead: str) -> None:
        """Record what is wrong with the variable `name` (without its prefix); `instead` says what to write."""
        self.problems.append(Problem(PREFIX + name, what, instead))


def apply(tree: Mapping[str, Any], environ: Mapping[str, str]) -> EnvironmentOverrides:
    """Return a copy of the tree with the environment's values. An empty variable counts as unset."""
    given = {name: value for name in NAMES if (value := environ.get(name, "").strip())}
    if not given:
        return EnvironmentOverrides(dict(tree))
    result = EnvironmentOverrides(copy.deepcopy(dict(tree)), given=given)
    if ALLOWED_ORIGINS in given:
        _origins(result, given[ALLOWED_ORIGINS])
    for name in (PER_MINUTE, PER_HOUR):
        if name in given:
            _limit(result, name, given[name])
    if SESSION_HOURS in given:
        _session(result, given[SESSION_HOURS])
    return result


def _origins(result: EnvironmentOverrides, text: str) -> None:
    origins = [origin for part in text.split(",") if (origin := part.strip())]
    if not origins:
        result.complain(ALLOWED_ORIGINS, "names no origin", "write https://one.example,https://two.example")
    elif (cors := _mapping(result.tree, "cors")) is not None:
        cors["allowed_origins"] = origins
        result.put("cors.allowed_origins", ALLOWED_ORIGINS)


def _limit(result: EnvironmentOverrides, name: str, text: str) -> None:
    """Set the limit of every global `per: ip` window of this length that counts chat; add one when there is none."""
    if not re.fullmatch(r"[0-9]{1,12}", text):
        result.complain(name, "is not a whole number", "write one like 60")
        return
    limits = result.tree.setdefault("rate_limits", [_written(limit.name) for limit in DEFAULT_LIMITS])
    if not isinstance(limits, list):
        return
    found = [index for index, limit in enumerate(limits) if _is_ip_limit(limit, WINDOWS[name])]
    if not found:
        found = [len(limits)]
        limits.append({"name": name.lower().replace("_", "-"), "per": "ip", "window": f"{WINDOWS[name]:g}s"})
    for index in found:
        limits[index]["limit"] = int(text)
        result.put(f"rate_limits[{index}].limit", name)


def _session(result: EnvironmentOverrides, text: str) -> None:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        result.complain(SESSION_HOURS, "is not a number of hours", "write one like 24")
    elif (sessions := _mapping(result.tree, "sessions")) is not None:
        sessions["max_age"] = f"{text}h"
        result.put("sessions.max_age", SESSION_HOURS)


def _mapping(tree: dict[str, Any], key: str) -> dict[str, Any] | None:
    """Return the section, made if it is missing; None when something else is there (which is reported)."""
    section = tree.setdefault(key, {})
    return section if isinstance(section, dict) else None


def _is_ip_limit(limit: Any, window: float) -> bool:
    if not isinstance(limit, dict) or limit.get("per") != "ip" or limit.get("counts", "chat") != "chat":
        return False
    written = limit.get("window")
    try:
        return isinstance(written, str) and len(written) < 24 and seconds(written) == window
    except (KeyError, ValueError):
        return False


def _written(name: str) -> dict[str, Any]:
    """Return a default limit as it would be written."""
    limit = next(limit for limit in DEFAULT_LIMITS if limit.name == name)
    written = {"name": limit.name, "per": limit.per, "limit": limit.limit, "window": f"{limit.window:g}s"}
    return {**written, "counts": limit.counts, "organizations": limit.organizations}
