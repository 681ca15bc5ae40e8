"""Services that judge texts, as they answer over HTTP: what is asked, what is read, what goes wrong."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sidecar.decision import KEEP, Finding, Keep, Refuse
from sidecar.messages.guardrail import GuardrailGuard
from sidecar.messages.message_guard import build_reader
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.policy.schema.custom_guards import Guardrail
from sidecar.vocabulary import Code, Event
from tests.support.clock import FakeClock
from tests.support.exchanges import exchange

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


class Service:
    """A service that answers what a function makes of the question; bytes are sent as they are."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append((self.path, asked))
                status, said = answer(asked)
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(OSError):  # of a client that left
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def guarding(answer: Answer, clock: FakeClock | None = None, **keys: Any) -> Iterator[tuple[GuardrailGuard, Service]]:
    service = Service(answer)
    thread = threading.Thread(target=service.server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{service.server.server_port}/judge"
    section = Guardrail.model_validate({"name": "judge", "kind": "json", "url": url, **keys})
    guard = GuardrailGuard(build_reader(BY_NAME["openai"], []), section, None, clock or FakeClock())
    try:
        yield guard, service
    finally:
        guard.close()
        service.server.shutdown()
        service.server.server_close()
        thread.join()


async def post(guard: GuardrailGuard, *texts: str) -> object:
    asked = exchange("POST", "/v1/chat/completions", content_type="application/json")
    messages = [{"role": "user", "content": text} for text in texts]
    return await guard.inspect(asked, json.dumps({"model": "m", "messages": messages}).encode())


def openai(content: str) -> tuple[int, Any]:
    return 200, {"choices": [{"message": {"role": "assistant", "content": content}}]}


def entity(kind: str, score: float) -> dict[str, Any]:
    return {"entity_type": kind, "score": score, "start": 0, "end": 4}


def blocked(categories: str) -> Refuse:
    return Refuse(Code.CONTENT_BLOCKED, {"categories": categories})


LLAMA = {"kind": "openai", "model": "llama-guard"}
PRESIDIO = {"kind": "presidio"}
ANSWERS: dict[str, tuple[dict[str, Any], tuple[int, Any], object]] = {
    "Llama Guard: safe": (LLAMA, openai("\n\nsafe"), KEEP),
    "Llama Guard: unsafe": (LLAMA, openai("unsafe\nS1,S10"), blocked("S1,S10")),
    "Llama Guard: unsafe without a category": (LLAMA, openai("unsafe"), blocked("")),
    "Llama Guard: a category that passes": ({**LLAMA, "categories": ["S1"]}, openai("unsafe\nS10"), KEEP),
    "Llama Guard: one of two that does not": ({**LLAMA, "categories": ["S1"]}, openai("unsafe\nS10,S1"), blocked("S1,S10")),
    "Presidio: nothing": (PRESIDIO, (200, []), KEEP),
    "Presidio: an entity": (PRESIDIO, (200, [entity("CREDIT_CARD", 0.9)]), blocked("CREDIT_CARD")),
    "Presidio: an uncertain one": (PRESIDIO, (200, [entity("CREDIT_CARD", 0.4)]), KEEP),
    "Presidio: another one": ({**PRESIDIO, "categories": ["IBAN_CODE"]}, (200, [entity("URL", 0.9)]), KEEP),
    "own: fine": ({}, (200, {"flagged": False}), KEEP),
    "own: flagged": ({}, (200, {"flagged": True, "categories": ["spam"]}), blocked("spam")),
    "own: a category that is no name": ({}, (200, {"flagged": True, "categories": ["the text: \n", 7]}), blocked("7")),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "answer", "decision"), ANSWERS.values(), ids=ANSWERS)
async def test_what_its_answer_means(keys: dict[str, Any], answer: tuple[int, Any], decision: object) -> None:
    with guarding(lambda _: answer, **keys) as (guard, _):
        assert await post(guard, "hello") == decision
        assert guard.name == "guardrails.judge"


QUESTIONS = {
    "Llama Guard": (
        LLAMA,
        openai("safe"),
        {"model": "llama-guard", "messages": [{"role": "user", "content": "héllo"}], "max_tokens": 64, "temperature": 0,
         "stream": False},
    ),
    "Presidio": (PRESIDIO, (200, []), {"text": "héllo", "language": "en", "score_threshold": 0.5}),
    "Presidio, some entities": (
        {**PRESIDIO, "categories": ["URL"], "language": "de"},
        (200, []),
        {"text": "héllo", "language": "de", "score_threshold": 0.5, "entities": ["URL"]},
    ),
    "own": ({}, (200, {"flagged": False}), {"text": "héllo"}),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "answer", "question"), QUESTIONS.values(), ids=QUESTIONS)
async def test_what_is_asked(keys: dict[str, Any], answer: tuple[int, Any], question: dict[str, Any]) -> None:
    with guarding(lambda _: answer, **keys) as (guard, service):
        await post(guard, "héllo")
        assert service.asked == [("/judge", question)]


FAILURES: dict[str, tuple[Any, str]] = {
    "another status": ((500, {"flagged": False}), "OSError"),
    "a redirect": ((302, b""), "OSError"),
    "no JSON": ((200, b"<html>"), "JSONDecodeError"),
    "another shape": ((200, {"result": "fine"}), "KeyError"),
    "a flag that is none": ((200, {"flagged": "no"}), "TypeError"),
    "too long an answer": ((200, b'{"flagged": false, "x": "' + b"x" * 70_000 + b'"}'), "ValueError"),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_refuses_or_passes_as_the_policy_says(answer: Any, reason: str) -> None:
    detail = {"reason": reason, "guard": "guardrails.judge"}
    with guarding(lambda _: answer) as (guard, _):
        assert await post(guard, "hello") == Refuse(Code.OVERLOADED, detail)
    with guarding(lambda _: answer, on_failure="pass") as (guard, _):
        assert await post(guard, "hello") == Keep((Finding(Event.BACKEND_ERROR, detail),))


async def test_a_slow_service_is_waited_for_no_longer_than_the_timeout() -> None:
    def slow(_: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(1.5)
        return 200, {"flagged": False}

    with guarding(slow, timeout="50ms") as (guard, _):
        began = time.monotonic()
        said = await post(guard, "hello")
        assert time.monotonic() - began < 1.4
    assert isinstance(said, Refuse)
    assert said.code is Code.OVERLOADED


async def test_each_text_is_asked_once_while_its_verdict_is_kept() -> None:
    clock = FakeClock()
    with guarding(lambda asked: (200, {"flagged": "bad" in asked["text"]}), clock, cache="60s") as (guard, service):
        assert await post(guard, "one", "two", "one") is KEEP
        assert await post(guard, "one", "two", "bad") == blocked("")
        assert [asked["text"] for _, asked in service.asked] == ["one", "two", "bad"]
        clock.advance(60)
        await post(guard, "one")
        assert len(service.asked) == 4


async def test_a_service_that_is_not_there() -> None:
    section = Guardrail.model_validate({"name": "judge", "kind": "json", "url": "http://127.0.0.1:1/x"})
    guard = GuardrailGuard(build_reader(BY_NAME["openai"], []), section, None, FakeClock())
    said = await post(guard, "hello")
    guard.close()
    assert said == Refuse(Code.OVERLOADED, {"reason": "ConnectionRefusedError", "guard": "guardrails.judge"})
