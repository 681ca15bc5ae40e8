"""pydantic's errors as problems: reworded, with the line and column of the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sidecar.errors import Problem
from sidecar.policy.document.load import Document
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.spelling import nearest

Loc = tuple[int | str, ...]

_KEY: Final = "[key]"
"""What pydantic calls a mapping's own key when that is what is wrong."""


def problems(errors: Iterable[ErrorDetails], document: Document) -> list[Problem]:
    """Turn validation errors into problems, each at the line that a person has to change."""
    return [_problem(error, document) for error in errors]


def reworded(errors: Iterable[ErrorDetails], root: type[BaseModel]) -> list[tuple[str, str, str]]:
    """Return path, fault and what to write instead, for errors of another model than the policy's."""
    return [(path_of(error["loc"]), *_words(error, root)) for error in errors]


def path_of(loc: Loc) -> str:
    """Write pydantic's location as an operator would: `routes[0].match.path`."""
    text = ""
    for step in loc:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step != _KEY:
            text += f".{step}" if text else step
    return text


def locate(problem: Problem, document: Document) -> Problem:
    """Put the line and column into a problem that another builder found."""
    if problem.line:
        return problem
    line, column = document.place(problem.path)
    return replace(problem, line=line, column=column)


def _problem(error: ErrorDetails, document: Document) -> Problem:
    loc, path = error["loc"], path_of(error["loc"])
    about_key = error["type"] == "extra_forbidden" or _KEY in loc
    place = document.key_place(path) if about_key else document.place(path)
    return Problem(path, *_words(error, PolicySchema), *place)


def _words(error: ErrorDetails, root: type[BaseModel]) -> tuple[str, str]:
    """Return what is wrong, and what to write instead."""
    loc = error["loc"]
    if error["type"] == "extra_forbidden":
        return _unknown(loc, root)
    if _KEY in loc:
        what, instead = _said(error)
        return f"as a key {what}", instead
    return _missing(loc, root) if error["type"] == "missing" else _said(error)


def _said(error: ErrorDetails) -> tuple[str, str]:
    """Return what is wrong with a value, and what to write instead."""
    context: Mapping[str, Any] = error.get("ctx") or {}
    match error["type"]:
        case "policy":
            return context["what"], context["instead"]
        case "literal_error":
            return _choice(error["input"], re.findall(r"'([^']+)'", context["expected"]))
        case "model_type" | "model_attributes_type" | "dict_type":
            what = "is empty" if error["input"] is None else "must be a mapping of keys"
            return what, "write its keys, indented, or leave it out"
        case _:
            return "is not valid here", "see docs/policy.md"


def _choice(given: Any, choices: list[str]) -> tuple[str, str]:
    """Name the allowed values; suggest one of them when the given one is similar."""
    if not isinstance(given, str):
        return "is not a word that is known here", f"write {_one_of(choices)}"
    near = nearest(given.lower(), choices)
    # What was written is not repeated: a key that was pasted here by mistake must not reach a log.
    return "is not known here", f'did you mean "{near}"?' if near else f"write {_one_of(choices)}"


def _one_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _unknown(loc: Loc, root: type[BaseModel]) -> tuple[str, str]:
    """An unknown key: name the one that was probably meant, or all that there are."""
    model = _model_at(loc[:-1], root)
    names = [field.alias or name for name, field in model.model_fields.items()] if model else []
    wrong = str(loc[-1])
    folded = {name.lower(): name for name in names}
    near = nearest(wrong.lower().replace("-", "_"), folded, 0.7)
    near = near or nearest(wrong.lower(), folded)
    if near:
        return "is not a key that is known here", f'did you mean "{folded[near]}"?'
    return "is not a key that is known here", f"there are {', '.join(names)}" if names else "remove it"


def _missing(loc: Loc, root: type[BaseModel]) -> tuple[str, str]:
    """A missing key: show what could be there."""
    model = _model_at(loc[:-1], root)
    for name, field in model.model_fields.items() if model else ():
        if (field.alias or name) == loc[-1] and field.examples:
            return "is missing", f"write {loc[-1]}: {_flow(field.examples[0])}"
    return "is missing", "write it"


def _flow(value: Any) -> str:
    return f"[{', '.join(str(item) for item in value)}]" if isinstance(value, list) else str(value)


def _model_at(loc: Loc, root: type[BaseModel]) -> type[BaseModel] | None:
    """Return the section that a location leads to."""
    kind: Any = root
    for step in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = kind.model_fields
            kind = next((f.annotation for name, f in fields.items() if (f.alias or name) == step), None)
        else:  # an item of a list, or a value of a mapping: the last argument of tuple[T, ...] and dict[K, V]
            kind = next((part for part in reversed(get_args(kind)) if part is not Ellipsis), None)
        kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _bare(annotation: Any) -> Any:
    """Return T of `Annotated[T, …]` and of `T | None`."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation
