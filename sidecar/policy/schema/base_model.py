"""The base of all sections: frozen, unknown keys refused, each key described."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

T = TypeVar("T")


class Section(BaseModel):
    """A mapping of the policy. Unknown keys are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False, arbitrary_types_allowed=True)


def refuse(what: str, instead: str) -> NoReturn:
    """Refuse a value: `what` is wrong, and what to write instead."""
    raise PydanticCustomError("policy", "{what}; {instead}", {"what": what, "instead": instead})


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """`Annotated[float, Read(…)]`: this function reads the YAML value, this is its JSON Schema."""

    read: Callable[[Any], Any]
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)


def _listed(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        refuse("must be a list", "write `[one, two]`, or each item in a line after `- `")
    return value


Many: TypeAlias = Annotated[tuple[T, ...], BeforeValidator(_listed)]
"""A list in YAML, a tuple here."""
