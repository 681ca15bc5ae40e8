"""Finds the guards that a policy names under `guards`, gives them their settings, and puts them into its order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, get_args

from pydantic import ValidationError

from sidecar.errors import Problems
from sidecar.extend import Section, Stage
from sidecar.guard import BodyStep, Step
from sidecar.guards.custom import Checks, CustomHeadGuard, CustomMessageGuard
from sidecar.messages.message_body import MessageReader
from sidecar.policy.document.validation_errors import reworded
from sidecar.policy.schema.custom_guards import CustomGuard
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.route import Route

GROUP: Final = "sidecar.guards"


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point. `guard` None: it cannot be loaded, and `problem` says why."""

    name: str
    package: str
    guard: Any = None
    problem: str = ""


def installed(name: str | None = None) -> Iterator[Installed]:
    """Load the guards that packages bring, or the one of this name."""
    found = entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    for entry in sorted(found, key=lambda each: each.name):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
        guard, problem = _load(entry)
        yield Installed(entry.name, package, guard, problem)


def _load(entry: EntryPoint) -> tuple[Any, str]:
    try:
        guard = entry.load()
    except Exception as error:  # noqa: BLE001 - of a program that is not ours
        return None, f"cannot be loaded ({type(error).__name__})"
    settings = getattr(guard, "Settings", None)
    if not isinstance(settings, type) or not issubclass(settings, Section):
        return None, "has no Settings that is a Section"
    if getattr(guard, "stage", None) not in get_args(Stage):
        return None, f"has no stage of {', '.join(get_args(Stage))}"
    if not callable(getattr(guard, "check", None)):
        return None, "has no check"
    return guard, ""


@dataclass(frozen=True, slots=True)
class _Made:
    """A guard that a policy uses."""

    name: str
    guard: Checks
    stage: Stage
    section: CustomGuard


class CustomGuards:
    """The guards of others in one policy, in the order in which it names them."""

    def __init__(self, made: Sequence[_Made], schema: PolicySchema) -> None:
        self._made = made
        self._schema = schema

    def head(self, route: Route | None) -> tuple[Step, ...]:
        """Return the steps of stage `head` for a route; None is what no route matches."""
        return tuple(
            Step(CustomHeadGuard(each.name, each.guard, each.section.timeout), self._enforces(each, route))
            for each in self._of(route, "head")
        )

    def message(self, route: Route | None, reader: MessageReader | None) -> tuple[BodyStep, ...]:
        """Return the steps of stage `message` for a route; none where it has no message."""
        if reader is None:
            return ()
        return tuple(
            BodyStep(
                CustomMessageGuard(each.name, each.guard, each.section.timeout, reader),
                self._enforces(each, route),
            )
            for each in self._of(route, "message")
        )

    def _of(self, route: Route | None, stage: Stage) -> Iterator[_Made]:
        name = route.name if route is not None else ""
        return (
            each
            for each in self._made
            if each.stage == stage and (not each.section.routes or name in each.section.routes)
        )

    def _enforces(self, made: _Made, route: Route | None) -> bool:
        return not made.section.observe and self._schema.enforces(made.name, route)


def build(schema: PolicySchema, problems: Problems) -> CustomGuards:
    """Build the guards of a policy; `problems` is at its root."""
    made = []
    routes = {route.name for route in schema.routes}
    for name, section in schema.guards.items():
        place = problems.at(f"guards.{name}")
        for index, route in enumerate(section.routes):
            if route not in routes:
                place.at(f"routes[{index}]").add(f'"{route}" is no route of this policy', "write the name of one")
        found = next(installed(name), None)
        if found is None:
            known = ", ".join(each.name for each in entry_points(group=GROUP))
            place.add("is not a guard that is installed here", f"install its package; there are {known or 'none'}")
        elif found.problem:
            place.add(found.problem, f"see docs/extending.md; it comes from {found.package}")
        else:
            guard = _configured(found.guard, section.settings, place.at("settings"))
            if guard is not None:
                made.append(_Made(f"guards.{name}", guard, found.guard.stage, section))
    return CustomGuards(made, schema)


def _configured(guard: Any, settings: Mapping[str, Any], place: Problems) -> Checks | None:
    """Return an instance with its settings, or None with every problem of theirs."""
    try:
        values = guard.Settings.model_validate(settings)
    except ValidationError as error:
        for path, what, instead in reworded(error.errors(include_url=False), guard.Settings):
            (place.at(path) if path else place).add(what, instead)
        return None
    try:
        made: Checks = guard(values)
    except ValueError as error:
        place.add(str(error)[:200], "see the guard's own documentation")
        return None
    except Exception as error:  # noqa: BLE001 - of a program that is not ours
        place.add(f"the guard cannot be made ({type(error).__name__})", "see the guard's own documentation")
        return None
    return made
