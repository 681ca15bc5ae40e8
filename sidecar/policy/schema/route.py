"""A route: which requests, and what is special about them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.backend import RouteTimeouts
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.browser_headers import SecurityHeaders
from sidecar.policy.schema.content import Message, Redaction
from sidecar.policy.schema.credentials import Credential
from sidecar.policy.schema.limits_and_sessions import RateLimit
from sidecar.policy.schema.quantities import size

GuardName: TypeAlias = Literal[
    "address", "ban", "host", "https", "user_agent", "cors", "fetch_metadata", "concurrency", "rate_limits", "session",
    "message", "content_filter", "redaction", "links", "ownership", "budgets",
]  # fmt: skip
"""What may be observed. The request's grammar, the body's size and credentials are not among them: a request
that two parsers read differently, or one without its key, cannot be let pass just to see."""

LISTENER_WIDE: Final = frozenset({"address", "ban", "host", "https", "user_agent", "concurrency"})
"""Guards of the whole listener: one route cannot observe them alone."""

Protocol: TypeAlias = Literal[
    "plain", "auto", "openai", "openai-text", "openai-image", "openai-audio", "openai-responses", "openai-threads",
    "openai-realtime", "anthropic", "anthropic-batches", "google", "rerank", "ollama", "chatkit", "vercel-ai",
    "ag-ui", "gradio", "streamlit", "chainlit", "chainlit-api", "open-webui", "open-webui-api", "open-webui-notes",
    "open-webui-stored", "bokeh", "shiny", "nicegui", "langgraph", "a2a", "mcp",
]  # fmt: skip


class Match(Section):
    """Which requests. Letter case, repeated slashes and percent-encoding make no difference."""

    path: Annotated[str, strings.PATTERN] = Field(
        description="exact; `/assets/*` is everything below; a `*` elsewhere is within one segment, `/**/` for "
        "any number of segments",
        examples=["/api/chat"],
    )
    methods: Many[Annotated[str, strings.METHOD]] = Field(default=(), description="empty: all", examples=[["POST"]])


def _or_none(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"const": "none"})


class Route(Section):
    """First match wins."""

    name: Annotated[str, strings.NAME] = Field(description="unique; named in logs and metrics", examples=["chat"])
    match: Match = Field(description="which requests", examples=["{ path: /api/chat, methods: [POST] }"])
    protocol: Protocol = Field(
        default="plain", description="where the text is, and what a refusal looks like to that client"
    )
    message: Message | None = Field(
        default=None,
        description="look at the text; null: bodies stream through. Left out, it is {} beside a written protocol other "
        "than plain",
    )
    session: Literal["required", "optional", "none"] = Field(
        default="optional",
        description="required: refused without one; optional: checked when there is one; none: not looked at",
    )
    credential: Credential | None = Field(default=None, description="whose key goes into the request; null: none")
    rate_limits: Many[RateLimit] | None = Field(
        default=(),
        description="limits of this route, on top of the global ones; none: not even those",
        json_schema_extra=_or_none,
    )
    mode: Literal["enforce", "observe"] | None = Field(
        default=None, description="as at the top, for this route; null: the same"
    )
    observe: Many[GuardName] = Field(default=(), description="guards that only observe on this route")
    max_body: Annotated[int, size("0B", "1TiB")] | None = Field(
        default=None, description="null: as `requests.max_body`"
    )
    backend: Annotated[str, strings.NAME] | None = Field(
        default=None, description="a name of `backends`: where its requests go; null: to `backend`"
    )
    timeouts: RouteTimeouts | None = Field(
        default=None, description="how long its requests wait for the backend; null: as the backend's"
    )
    redaction: Redaction | None = Field(default=None, description="in place of the global one; null: the same")
    security_headers: SecurityHeaders | None = Field(
        default=None, description="in place of the global ones; null: the same"
    )

    @model_validator(mode="before")
    @classmethod
    def _none_is_no_limit(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("rate_limits") == "none":
            return {**value, "rate_limits": None}
        return value

    @model_validator(mode="before")
    @classmethod
    def _a_protocol_guards_its_texts(cls, value: Any) -> Any:
        # A written protocol says where the text is: not to look at it takes a word of its own, null.
        if not isinstance(value, dict) or value.get("protocol", "plain") == "plain":
            return value
        message = value.get("message", {})
        if value["protocol"] == "mcp" and isinstance(message, dict):
            message = {"markup": "keep", **message}  # arguments of tools are data: `List<String>` must arrive as such
        return {**value, "message": message}
