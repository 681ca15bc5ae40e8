"""Every value of a policy as an operator would write it: what `sidecar check` lists and the docs say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sidecar.policy.schema.base_model import Read
from sidecar.policy.schema.quantities import DURATION, SIZE, as_duration, as_size


def values(section: BaseModel, path: str = "", *, by_name: bool = False) -> Iterator[tuple[str, str]]:
    """Yield each key's path and value, in the order of the schema; `by_name`: `routes[chat]`, not `routes[0]`."""
    for name, field in type(section).model_fields.items():
        key = field.alias or name
        yield from _values(getattr(section, name), f"{path}.{key}" if path else key, reader(field), by_name)


def shown(value: Any, read: Read | None = None) -> str:
    """Write one plain value: `30s`, `1MiB`, `true`, `[GET, POST]`, `null`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(shown(item) for item in value)}]"
    pattern = read.schema.get("pattern") if read else None
    if pattern == DURATION:
        return as_duration(value)
    return as_size(value) if pattern == SIZE else str(value)


def reader(field: FieldInfo) -> Read | None:
    """Return how a field's value is read, also of `Annotated[…] | None`."""
    found = [item for item in field.metadata if isinstance(item, Read)]
    for part in (field.annotation, *get_args(field.annotation)):
        if get_origin(part) is Annotated:
            found += [item for item in get_args(part)[1:] if isinstance(item, Read)]
    return found[0] if found else None


def _values(value: Any, path: str, read: Read | None, by_name: bool) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from values(value, path, by_name=by_name)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _values(item, f"{path}.{key}", None, by_name)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for index, item in enumerate(value):
            place = getattr(item, "name", index) if by_name else index
            yield from values(item, f"{path}[{place}]", by_name=by_name)
    else:
        yield path, "{}" if value == {} else shown(value, read)
