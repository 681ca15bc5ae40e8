"""Guards of others' programs, and services that are asked about messages."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from sidecar.policy.schema import string_types as strings
from sidecar.policy.schema.base_model import Many, Read, Section, refuse
from sidecar.policy.schema.quantities import FLAG, size, span


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        refuse("is not a number from 0 to 1", "write one like 0.5")
    return float(value)


SHARE: Final = Read(_share, {"type": "number", "minimum": 0, "maximum": 1})


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


class Guardrail(Section):
    """A service that is asked over HTTP about each text of a message, about answers, or both."""

    name: Annotated[str, strings.NAME] = Field(description="unique; named in events", examples=["llama-guard"])
    kind: Literal["openai", "presidio", "json"] = Field(
        description="what it speaks: Llama Guard behind an OpenAI-compatible endpoint, Presidio's analyzer, or "
        '`{"text"}` answered by `{"flagged", "categories"}`',
        examples=["json"],
    )
    url: Annotated[str, strings.url(path=True)] = Field(
        description="where it is asked, by POST", examples=["http://127.0.0.1:8000/v1/chat/completions"]
    )
    about: Literal["requests", "responses", "both"] = Field(
        default="requests",
        description="what it judges. responses: an answer is held until it has decided; streams are not held",
    )
    model: Annotated[str, strings.LINE] | None = Field(default=None, description="for kind openai: the model")
    language: Annotated[str, strings.LINE] = Field(default="en", description="for kind presidio: of the texts")
    score: Annotated[float, SHARE] = Field(
        default=0.5, description="for kind presidio: entities of a lower score do not count"
    )
    categories: Many[Annotated[str, strings.LINE]] = Field(
        default=(), description="refuse these only (`S1`, `CREDIT_CARD`); none written: every one"
    )
    routes: Many[Annotated[str, strings.NAME]] = Field(
        default=(), description="routes whose messages it is asked about; none written: all with a message"
    )
    observe: Annotated[bool, FLAG] = Field(default=False, description="true: only log what it would refuse")
    timeout: Annotated[float, span("50ms", "30s")] = Field(
        default=2.0, description="how long a request waits for it, all texts together"
    )
    on_failure: Literal["refuse", "pass"] = Field(
        default="refuse", description="when it cannot be asked, is too slow, or answers otherwise"
    )
    on_stream: Literal["pass", "refuse"] = Field(
        default="pass",
        description="for answers that stream, which it is not asked about: pass records MESSAGE_UNREADABLE",
    )
    max_response: Annotated[int, size("1KiB", "8MiB")] = Field(
        default=256 * 1024, description="bytes of an answer that is held; a longer one is a failure"
    )
    cache: Annotated[float, span("0s", "24h")] = Field(
        default=600.0, description="how long a verdict is kept for the same text, under its hash; 10,000 a route"
    )
    ca: Annotated[str, strings.FILE] | None = Field(
        default=None, description="for an https URL: PEM file of the authorities to trust; null: the system's"
    )
    dangerously_send_in_clear: Annotated[bool, FLAG] = Field(
        default=False, description="true: messages may go to it over http beyond this machine"
    )
