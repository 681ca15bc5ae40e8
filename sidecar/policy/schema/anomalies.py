"""Usage that is unlike what it was."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sidecar.policy.schema.base_model import Section
from sidecar.policy.schema.quantities import whole


class LeastUnusual(Section):
    """Below these counts nothing is unusual: of an organization, in fifteen minutes."""

    requests: Annotated[int, whole(1, 1_000_000_000)] = Field(default=60, description="requests")
    tokens: Annotated[int, whole(1, 1_000_000_000)] = Field(
        default=100_000, description="tokens of models, as far as they are counted"
    )
    refusals: Annotated[int, whole(1, 1_000_000_000)] = Field(
        default=30, description="requests that were answered with a 4xx other than 404"
    )
    networks: Annotated[int, whole(1, 1000)] = Field(
        default=20, description="networks (/24, /64) that requests came from, in an hour"
    )


class Anomalies(Section):
    """Look for usage that is unlike what it was, and record `USAGE_ANOMALY`."""

    factor: Annotated[int, whole(2, 1000)] = Field(
        default=4, description="at least so many times what is usual at this time"
    )
    least: LeastUnusual = Field(default_factory=LeastUnusual, description="counts below which nothing is unusual")
