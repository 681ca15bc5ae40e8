"""Asks a service over HTTP about texts: Llama Guard, Presidio, or one of your own.

Here is what is asked about a message or about a backend's answer, and how the verdict is read. `Judgements` says how
often and how long; `responses.held_answers` decides which answers wait for it. Of a verdict only the names of
categories are kept, and only those that look like names: never text.
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
from sidecar.decision import KEEP, Inspection, Refuse
from sidecar.exchange import Exchange
from sidecar.messages.message_body import BodyProblem, MessageReader
from sidecar.messages.moderation import Judgements, ModerationFailed, ModerationGuard, OnFailure, Verdict
from sidecar.policy.schema.custom_guards import Guardrail
from sidecar.secret import Secret

MOST_BYTES: Final = 64 * 1024
"""Of an answer."""
MOST_CATEGORIES: Final = 8
LONGEST_QUESTION: Final = 16 * 1024
"""Characters of a user's text that go along with the answer to it: its end."""
USER: Final = frozenset({"user"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ ./-]{0,39}")


@dataclass(frozen=True, slots=True)
class ServiceJudge:
    """Asks one service, in a thread: blocks for `timeout` seconds a text at most.

    answers  the texts are answers, each with its question, as `with_question` wrote them
    """

    section: Guardrail
    tls: ssl.SSLContext | None
    answers: bool = False

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
        question, said = json.loads(text) if self.answers else (None, text)
        body = json.dumps(_WRITERS[section.kind](section, said, question)).encode("utf-8", "surrogatepass")
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


class AnswerGuardrail:
    """One service that judges answers, as one route uses it.

    most             bytes of an answer that it is asked about
    refuses_streams  answers that stream are refused: it cannot be asked about them
    enforce          False: what it would refuse is recorded, and passes
    """

    def __init__(self, section: Guardrail, tls: ssl.SSLContext | None, clock: Clock, *, enforce: bool = True) -> None:
        self.name = f"guardrails.{section.name}"
        self.judgements = Judgements(
            judge=ServiceJudge(section, tls, answers=True),
            key=_no_key,
            clock=clock,
            timeout=section.timeout,
            ttl=section.cache,
        )
        self.on_failure = OnFailure(section.on_failure)
        self.most = section.max_response
        self.refuses_streams = section.on_stream == "refuse"
        self.enforce = enforce


class QuestionKeeper:
    """Keeps the end of a message's last text of a user, so that the answer can be judged together with it."""

    name = "guardrails"

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Set `exchange.question`; never refuses."""
        message = self._reader.read(exchange, body)
        if message is not None and not isinstance(message, BodyProblem):
            texts = message.of_roles(USER) or message.texts
            if texts:
                exchange.question = texts[-1][1][-LONGEST_QUESTION:]
        return KEEP


def with_question(question: str, answer: str) -> str:
    """Return both as one text: a verdict on an answer holds for this question only."""
    return json.dumps([question, answer])


async def _no_key(_organization: str) -> Secret:
    return Secret("")


def _to_openai(section: Guardrail, text: str, question: str | None) -> dict[str, Any]:
    # Llama Guard judges the last turn, and takes conversations that begin with a user's only.
    turns = [text] if question is None else [question or "(not known)", text]
    messages = [{"role": role, "content": each} for role, each in zip(("user", "assistant"), turns, strict=False)]
    return {"model": section.model, "messages": messages, "max_tokens": 64, "temperature": 0, "stream": False}


def _to_presidio(section: Guardrail, text: str, _question: str | None) -> dict[str, Any]:
    asked: dict[str, Any] = {"text": text, "language": section.language, "score_threshold": section.score}
    return {**asked, "entities": list(section.categories)} if section.categories else asked


def _to_json(_section: Guardrail, text: str, question: str | None) -> dict[str, Any]:
    return {"text": text} if question is None else {"text": text, "question": question}


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
