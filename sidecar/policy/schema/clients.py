"""Clients: trusted proxies, lists of networks, bans."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.quantities import MINUTE, span, whole


class Ban(Section):
    """Bans of addresses whose requests were refused repeatedly."""

    strikes: Annotated[int, whole(1, 100_000)] = Field(default=20, description="refusals that make a ban")
    within: Annotated[float, span("1s", "24h")] = Field(
        default=MINUTE, description="the time in which they are counted"
    )
    length: Annotated[float, span("1s", "30d")] = Field(
        default=15 * MINUTE, alias="for", description="how long the ban lasts"
    )


class Clients(Section):
    """What identifies a client, and which clients are refused."""

    trusted_proxies: Many[Annotated[str, strings.PROXY]] = Field(
        default=(),
        description="only these may say X-Forwarded-For, -Proto, -Host, -Port and Forwarded; `unix`: peers of Unix "
        "sockets",
        examples=[["10.0.0.0/8"]],
    )
    pass_headers: Many[Annotated[str, strings.TOKEN]] = Field(
        default=(),
        description="request headers that every client may send, though they name a user (`X-Forwarded-User`)",
    )
    ipv6_prefix: Annotated[int, whole(32, 128)] = Field(
        default=64, description="one client is one IPv6 network of this length"
    )
    allow: Many[Annotated[str, strings.NETWORK]] = Field(
        default=(), description="when set, all other addresses are refused"
    )
    deny: Many[Annotated[str, strings.NETWORK]] = Field(default=(), description="these are always refused")
    ban: Ban | None = Field(default_factory=Ban, description="refusals after which an address is banned; null: no bans")
