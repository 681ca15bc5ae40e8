"""The JSON Schema of the policy, for editors: completion, descriptions and marked errors."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from sidecar.policy.document.effective_values import reader, shown
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.policy.schema.quantities import DURATION, SIZE, as_duration, as_size
from sidecar.policy.schema.string_types import Address, Where

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema; every key is described, defaults are written as an operator would."""
    schema = PolicySchema.model_json_schema(schema_generator=_Generator)
    _tidy(schema)
    schema.pop("description", None)
    return {
        "$schema": DIALECT,
        "title": "Policy of the sidecar",
        "description": "One policy file. docs/policy.md says more about each key.",
        **schema,
    }


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, Address | Where):
            return str(dft)
        if isinstance(dft, tuple):
            return [self.encode_default(item) for item in dft]
        if isinstance(dft, BaseModel):
            return {
                field.alias or name: self._written(dft, name, field) for name, field in type(dft).model_fields.items()
            }
        return super().encode_default(dft)

    def _written(self, section: BaseModel, name: str, field: FieldInfo) -> Any:
        value, read = getattr(section, name), reader(field)
        measured = read is not None and read.schema.get("pattern") in (DURATION, SIZE)
        return shown(value, read) if measured else self.encode_default(value)


def _tidy(node: Any) -> None:
    """Write numbers of seconds and bytes with their units; drop the titles that repeat the key."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    default = node.get("default")
    if isinstance(default, int | float) and not isinstance(default, bool):
        patterns = {node.get("pattern"), *(part.get("pattern") for part in node.get("anyOf", ()))}
        if DURATION in patterns:
            node["default"] = as_duration(default)
        elif SIZE in patterns:
            node["default"] = as_size(int(default))
    for key, item in node.items():
        if key not in ("default", "examples"):
            _tidy(item)
