"""Where state lives that replicas share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sidecar.policy.schema.base_model import Section
from sidecar.policy.schema.quantities import span


class Redis(Section):
    """What is asked of the Redis that `REDIS_URL` names."""

    timeout: Annotated[float, span("5ms", "5s")] = Field(
        default=0.06,
        description="a request waits no longer for it; one that is later counts as lost, and memory takes over",
    )


class Stores(Section):
    """Where windows, bans and sessions live."""

    redis: Redis = Field(default_factory=Redis, description="what is asked of a Redis that replicas share")
