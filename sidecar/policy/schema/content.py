"""What is in messages and answers: text that comes in, secrets that must not go out."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Section
from sidecar.policy.schema.quantities import FLAG, span, whole
from sidecar.redaction.filters import PATTERN_NAMES
from sidecar.vocabulary import Event


class MessageDefaults(Section):
    """How the messages of every route are looked at, unless the route says otherwise."""

    max_chars: Annotated[int, whole(1, 10_000_000)] = Field(
        default=1000, description="characters of the newest text at most"
    )
    markup: Literal["escape", "strip", "reject", "keep"] = Field(
        default="escape", description="what becomes of HTML: shown as typed, removed, answered with 400, left"
    )
    on_uninspectable: Literal["refuse", "pass"] = Field(
        default="refuse",
        description="messages that cannot be looked at (wrong type, bad JSON, duplicate keys, too deep), or in which "
        "no text was found where one should be",
    )
    roles: Many[Annotated[str, strings.NAME]] = Field(
        default=(),
        description="whose turns are sanitized, by the `role` in the message; empty: all. Only for routes whose "
        "clients are servers",
        examples=[["user"]],
    )


class Message(MessageDefaults):
    """Look at the text of a route's messages."""

    fields: Many[Annotated[str, strings.JSON_PATH]] = Field(
        default=(), description="where the text is; empty: where the protocol says", examples=[["$.message"]]
    )


class ContentPattern(Section):
    """Text that is refused."""

    name: Annotated[str, strings.NAME] = Field(description="logged in place of the text", examples=["jailbreak"])
    pattern: Annotated[str, strings.REGEX] = Field(
        description="regular expression (RE2, linear time), found anywhere in the text",
        examples=["(?i)ignore all previous"],
    )


class Moderation(Section):
    """Ask a moderation model about each text, with the organization's own credential."""

    provider: Annotated[str, strings.PROVIDER] = Field(default="openai", description="whose credential and API")
    model: Annotated[str, strings.LINE] = Field(default="omni-moderation-latest", description="the model that is asked")
    timeout: Annotated[float, span("50ms", "30s")] = Field(default=2.0, description="how long to wait for its answer")
    on_failure: Literal["pass", "refuse"] = Field(default="pass", description="when it cannot be asked")
    cache: Annotated[float, span("0s", "24h")] = Field(
        default=600.0, description="how long an answer is kept for the same text"
    )


class ContentFilter(Section):
    """Texts that are refused with CONTENT_BLOCKED."""

    patterns: Many[ContentPattern] = Field(default=(), description="patterns that refuse a text")
    moderation: Moderation | None = Field(default=None, description="a model that is asked; null: none")


class Redaction(Section):
    """What is replaced by `[redacted]` in answers, streams included."""

    known_secrets: Annotated[bool, FLAG] = Field(default=True, description="the keys in the vault, raw and encoded")
    patterns: Many[Annotated[str, strings.one_of(PATTERN_NAMES, "a shape of a key that is known here")]] = Field(
        default=("openai", "stripe", "aws", "private_key"), description="keys of others, by their shape"
    )


class AnswerLinks(Section):
    """Links and images in answers that a page may show."""

    allow: Many[Annotated[str, strings.HOSTS]] = Field(
        default=(),
        description="hosts that answers may link to; `*.` before a name: every host below it; `*`: every host, so that "
        "images alone are looked at; our own host always",
        examples=[["docs.example.com", "*.wikipedia.org"], ["*"]],
    )
    images: Many[Annotated[str, strings.HOST]] | None = Field(
        default=None,
        description="hosts that images, and what else a page loads by itself, may come from; null: those of `allow`",
    )
    on_other: Literal["observe", "defang", "remove"] = Field(
        default="observe",
        description="what becomes of others. observe: they are recorded; defang: their scheme is made unknown; "
        "remove: about:blank is put in their place",
    )


class Answers(Section):
    """What answers may show."""

    links: AnswerLinks | None = Field(default=None, description="links and images in answers; null: not looked at")


SENT: Final = sorted({event.name for event in Event} - {Event.CHAT_MESSAGE_PROCESSED.name})
"""Events that a webhook may be asked for: not that of each chat message, which is an access line of its own."""


class UrlAlone:
    """`Annotated[Webhook, UrlAlone()]`: a text in place of the section is its `url`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def read(value: Any) -> Any:
            return {"url": value} if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": "^https?://"}, handler(schema)]}


class Webhook(Section):
    """Where chosen events are posted."""

    url: Annotated[str, strings.url(path=True)] | None = Field(
        default=None,
        description="https (http to this machine only); null: the environment's WEBHOOK_URL, for URLs that are secrets",
        examples=["https://collector.example.com/sidecar"],
    )
    form: Literal["json", "slack", "pagerduty"] = Field(
        default="json",
        alias="format",
        description="json: lists of events, signed with WEBHOOK_SECRET; slack: text; pagerduty: Events API 2, whose "
        "integration key is WEBHOOK_SECRET",
    )
    events: Many[Annotated[str, strings.one_of(SENT, "an event")]] | None = Field(
        default=None,
        description="which events; null: AUDIT events, warnings and errors, and each policy that was taken over",
    )
    retry_for: Annotated[float, span("0s", "24h")] = Field(
        default=900.0, description="how long events that are not taken are tried again before they are given up"
    )
    ca: Annotated[str, strings.FILE] | None = Field(
        default=None, description="PEM file of the authorities to trust; null: the system's"
    )


class Events(Section):
    """Where facts are written, and how long they are kept."""

    log: Literal["stdout", "stderr"] | None = Field(
        default="stdout", description="one JSON object a line; null: nowhere"
    )
    file: Annotated[str, strings.FILE] | None = Field(
        default=None, description="also appended to this file; reopened on SIGHUP"
    )
    access: Annotated[bool, FLAG] = Field(default=True, description="also a line for each request (category ACCESS)")
    form: Literal["json", "ecs"] = Field(
        default="json", alias="format", description="names of a line's keys: our own, or the Elastic Common Schema's"
    )
    webhook: Annotated[Webhook, UrlAlone()] | None = Field(
        default=None,
        description="posts chosen events to another system; a URL alone is its `url`; null: none",
        examples=["https://collector.example.com/sidecar"],
    )
    audit_anchor: Literal["log", "webhook"] = Field(
        default="log",
        description="where the end of the audit log is written regularly: it shows a database that was put back",
    )
    audit_retention: Annotated[float, span("1d", "3650d")] = Field(
        default=90 * 86400.0, description="how long the audit log is kept"
    )
