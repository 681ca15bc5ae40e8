"""Asks a service over HTTP about each text of a message: Llama Guard, Presidio, or one of your own.

How often, how long and what becomes of a failure is `ModerationGuard`'s matter; here is what is asked, and how the
answer is read. Of an answer only the names of categories are kept, and only those that look like names: never text.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.clock import Clock
from sidecar.decision import Inspection, Refuse
from sidecar.exchange import Exchange
from sidecar.messages.message_body import MessageReader
from sidecar.messages.moderation import ModerationFailed, ModerationGuard, OnFailure, Verdict
from sidecar.policy.schema.custom_guards import Guardrail
from sidecar.secret import Secret

MOST_BYTES: Final = 64 * 1024
"""Of an answer."""
MOST_CATEGORIES: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ ./-]{0,39}")


@dataclass(frozen=True, slots=True)
class ServiceJudge:
    """Asks one service, in a thread: blocks for `timeout` seconds a text at most."""

    section: Guardrail
    tls: ssl.SSLContext | None

    def __call__(self, key: Secret, texts: Sequence[str]) -> list[Verdict]:  # noqa: ARG002 - no key is sent
        try:
            return [_READERS[self.section.kind](self.section, self._post(text)) for text in texts]
        except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, IndexError) as error:
            # Its text may quote the message; an answer of another shape ends up here too.
            raise ModerationFailed(type(error).__name__) from None

    def _post(self, text: str) -> Any:
        section = self.section
        parts = urlsplit(section.url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(parts.netloc, timeout=section.timeout, context=self.tls)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=section.timeout)
        body = json.dumps(_WRITERS[section.kind](section, text)).encode("utf-8", "surrogatepass")
        with closing(connection):
            connection.request("POST", parts.path or "/", body, {"Content-Type": "application/json"})
            with closing(connection.getresponse()) as answer:
                if answer.status != 200:
                    raise OSError(f"status {answer.status}")
                content = answer.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError("too long an answer")
        return json.loads(content)


class GuardrailGuard(ModerationGuard):
    """Refuse a message that the service flags. Waits for at most `timeout` seconds."""

    def __init__(self, reader: MessageReader, section: Guardrail, tls: ssl.SSLContext | None, clock: Clock) -> None:
        super().__init__(
            reader,
            judge=ServiceJudge(section, tls),
            key=_no_key,
            clock=clock,
            timeout=section.timeout,
            on_failure=OnFailure(section.on_failure),
            ttl=section.cache,
        )
        self.name = f"guardrails.{section.name}"

    async def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Refuse with 403 a message of which any text is flagged; on timeout or failure, act as `on_failure` says."""
        said = await super().inspect(exchange, body)
        if isinstance(said, Refuse) and "moderation" in said.detail:
            return Refuse(said.code, {"categories": said.detail["moderation"]})
        return said


async def _no_key(_organization: str) -> Secret:
    return Secret("")


def _to_openai(section: Guardrail, text: str) -> dict[str, Any]:
    question = [{"role": "user", "content": text}]
    return {"model": section.model, "messages": question, "max_tokens": 64, "temperature": 0, "stream": False}


def _to_presidio(section: Guardrail, text: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"text": text, "language": section.language, "score_threshold": section.score}
    return {**asked, "entities": list(section.categories)} if section.categories else asked


def _to_json(_section: Guardrail, text: str) -> dict[str, Any]:
    return {"text": text}


def _of_openai(section: Guardrail, answer: Any) -> Verdict:
    """Read `safe`, or `unsafe` and the hazard categories in the next line (Llama Guard 2 and later)."""
    first, _, rest = str(answer["choices"][0]["message"]["content"]).strip().partition("\n")
    word = first.strip().lower()
    if word not in ("safe", "unsafe"):
        raise ValueError("neither safe nor unsafe")
    found = _names(rest.replace("\n", ",").split(","))
    return Verdict(word == "unsafe" and _counts(section, found), found)


def _of_presidio(section: Guardrail, answer: Any) -> Verdict:
    """Read the entities that Presidio's analyzer found, those of at least `score`."""
    found = _names(each["entity_type"] for each in answer if float(each["score"]) >= section.score)
    return Verdict(bool(found) and _counts(section, found), found)


def _of_json(section: Guardrail, answer: Any) -> Verdict:
    """Read `{"flagged": true, "categories": ["…"]}`."""
    if not isinstance(answer["flagged"], bool):
        raise TypeError("flagged is true or false")
    found = _names(answer.get("categories") or ())
    return Verdict(answer["flagged"] and _counts(section, found), found)


def _counts(section: Guardrail, found: Sequence[str]) -> bool:
    """Return whether one of the categories is refused; a flag without any always is."""
    return not section.categories or not found or any(name in section.categories for name in found)


def _names(words: Any) -> tuple[str, ...]:
    """Return what looks like names, bounded: anything else may be text of the message."""
    stripped = (str(word).strip() for word in words)
    return tuple(dict.fromkeys(word for word in stripped if _NAME.fullmatch(word)))[:MOST_CATEGORIES]


_WRITERS: Final = {"openai": _to_openai, "presidio": _to_presidio, "json": _to_json}
_READERS: Final = {"openai": _of_openai, "presidio": _of_presidio, "json": _of_json}
