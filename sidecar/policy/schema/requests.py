"""Bounds of requests and WebSocket connections."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.quantities import FLAG, KIB, MIB, size, span, whole


class Requests(Section):
    """Bounds of what one request or one client can make the sidecar store or wait for."""

    hosts: Many[Annotated[str, strings.SERVED_HOST]] = Field(
        default=(),
        description="when set, any other public host gets 421; `*.example.com` is one label or more; without a port: "
        "any port",
        examples=[["chat.example.com"]],
    )
    max_body: Annotated[int, size("0B", "1TiB")] = Field(default=MIB, description="largest request body")
    max_header_bytes: Annotated[int, size("1KiB", "1MiB")] = Field(
        default=32 * KIB, description="largest head of a request"
    )
    max_headers: Annotated[int, whole(8, 1000)] = Field(default=100, description="header lines of a request at most")
    max_target: Annotated[int, size("64B", "64KiB")] = Field(default=8 * KIB, description="longest path with its query")
    https_only: Annotated[bool, FLAG] = Field(
        default=False, description="true: GET and HEAD over http are redirected to https, everything else is refused"
    )
    denied_user_agents: Many[Annotated[str, strings.LINE]] = Field(
        default=(), description="programs that are refused, by a part of their User-Agent", examples=[["GPTBot"]]
    )
    concurrent_per_client: Annotated[int, whole(1, 100_000)] | None = Field(
        default=20, description="requests and streams of one client at the same time; null: no limit"
    )
    max_connections: Annotated[int, whole(1, 1_000_000)] = Field(
        default=10_000, description="connections of all clients at the same time"
    )
    header_timeout: Annotated[float, span("100ms", "5m")] = Field(
        default=10.0, description="for the complete head to arrive"
    )
    body_timeout: Annotated[float, span("100ms", "1h")] = Field(
        default=30.0, description="longest pause in a body; also the grace before `min_body_rate` is asked for"
    )
    min_body_rate: Annotated[int, size("0B", "1GiB")] = Field(
        default=500, description="bytes a second that a body must keep up on average; 0B: any"
    )
    idle_timeout: Annotated[float, span("1s", "1h")] = Field(
        default=75.0, description="how long a connection stays open between two requests"
    )


class Maintenance(Section):
    """Refuse every request with 503 and a message."""

    message: Annotated[str, strings.LINE] = Field(
        default="The service is under maintenance", description="the sentence that clients receive"
    )
    retry_after: Annotated[float, span("1s", "24h")] = Field(default=300.0, description="the value of Retry-After")


class WebSocket(Section):
    """Bounds of a WebSocket connection, in both directions."""

    max_message: Annotated[int, size("1KiB", "1GiB")] = Field(default=MIB, description="largest message")
    idle: Annotated[float, span("1s", "24h")] = Field(
        default=300.0, description="closed after this long without a frame"
    )
    messages_per_minute: Annotated[int, whole(1, 1_000_000)] | None = Field(
        default=600, description="messages that a client may send in any minute; null: no limit"
    )
