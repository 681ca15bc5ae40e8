"""Guards of others' programs, and services that are asked about messages."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.quantities import FLAG, span


class CustomGuard(Section):
    """A guard that a package brings (entry point group `sidecar.guards`)."""

    settings: dict[str, Any] = Field(
        default_factory=dict, description="the guard's own keys, validated by it (`sidecar guards`)"
    )
    routes: Many[Annotated[str, strings.NAME]] = Field(
        default=(),
        description="routes that it is asked about; none written: all, of stage message those with a message",
    )
    observe: Annotated[bool, FLAG] = Field(default=False, description="true: only log what it would refuse")
    timeout: Annotated[float, span("10ms", "30s")] = Field(
        default=2.0, description="how long it may take; then the request is refused with 503"
    )
