"""The backend: its URL, TLS, timeouts and connections."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Section
from sidecar.policy.schema.quantities import FLAG, span, whole


class ClientTls(Section):
    """How the sidecar, as a client, checks a server over https. It always does."""

    ca: Annotated[str, strings.FILE] | None = Field(
        default=None, description="PEM file of the authorities to trust; null: the system's"
    )
    server_name: Annotated[str, strings.HOST] | None = Field(
        default=None, description="the name that the certificate must carry, when it is not the URL's host"
    )


class Timeouts(Section):
    """How long to wait for a server."""

    connect: Annotated[float, span("10ms", "1m")] = Field(default=2.0, description="to be connected")
    first_byte: Annotated[float, span("100ms", "1h")] = Field(
        default=60.0, description="for the first byte of the answer"
    )
    idle: Annotated[float, span("1s", "24h")] = Field(
        default=300.0, description="for the next byte of a running answer"
    )
    keep_alive: Annotated[float, span("0s", "1h")] | None = Field(
        default=None,
        description="how long an idle connection is used again: less than the server keeps it. null: 55s, and 1.5s for "
        "requests that must not be sent twice; what the server says (`Keep-Alive: timeout`) and does counts too",
    )


KindName: TypeAlias = Literal[
    "generic", "openai", "litellm", "anthropic", "ollama", "chatkit", "vercel-ai", "ag-ui", "mcp", "langgraph",
    "gradio", "streamlit", "chainlit", "open-webui", "panel", "nicegui", "shiny",
]  # fmt: skip
"""Each has a file in `sidecar/policy/kinds/`."""


class BackendServer(Section):
    """A further server that routes may name."""

    url: Annotated[str, strings.url(path=False, unix=True)] = Field(
        description="scheme, host and port, or unix:/path/of/a/socket; requests keep their own paths",
        examples=["http://127.0.0.1:3001", "unix:/run/app.sock"],
    )
    kind: KindName = Field(
        default="generic",
        description="which chat system it is: its operations, text places, CSP and sizes are under what is written "
        "here (`sidecar kinds`)",
    )
    preserve_host: Annotated[bool, FLAG] = Field(
        default=True, description="send the public host on; false: the URL's host"
    )
    tls: ClientTls | None = Field(
        default=None, description="for an https URL: whom to trust; null: the system's authorities"
    )
    timeouts: Timeouts = Field(default_factory=Timeouts, description="how long to wait for the backend")
    max_connections: Annotated[int, whole(1, 65_535)] = Field(
        default=4096, description="connections to the backend at most; requests beyond wait, then get 503"
    )


class Backend(BackendServer):
    """The chat backend that is guarded."""


class RouteTimeouts(Section):
    """How long a route waits for its backend, where that differs."""

    connect: Annotated[float, span("10ms", "1m")] | None = Field(
        default=None, description="to be connected; null: as the backend's"
    )
    first_byte: Annotated[float, span("100ms", "1h")] | None = Field(
        default=None, description="for the first byte of the answer; null: as the backend's"
    )
    idle: Annotated[float, span("1s", "24h")] | None = Field(
        default=None, description="for the next byte of a running answer; null: as the backend's"
    )
