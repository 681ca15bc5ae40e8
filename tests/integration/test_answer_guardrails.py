"""A sidecar that holds an answer until a service has judged it."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import Message, Serving
from tests.support.backends import answer as saying
from tests.support.raw import post
from tests.support.sidecar import Running, threaded, until

KEY = "sk-proj-" + "Ab3dEf6hIj9kLm2n" * 4
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "usage": {"prompt_tokens": 7, "completion_tokens": 5},
}
ROUTES = [{"name": "chat", "match": {"path": "/v1/*", "methods": ["POST"]}, "protocol": "openai", "message": {}}]


def completion(text: str) -> bytes:
    said = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return json.dumps({**COMPLETION, "choices": [said]}).encode()


def chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return (
        saying(b"", "Transfer-Encoding: chunked", length=False, content_type="application/json") + framed + b"0\r\n\r\n"
    )


def until_close(body: bytes) -> bytes:
    return saying(body, "Connection: close", length=False, content_type="application/json")


def length(body: bytes) -> bytes:
    return saying(body, content_type="application/json")


def zipped(body: bytes) -> bytes:
    return saying(gzip.compress(body), "Content-Encoding: gzip", content_type="application/json")


FRAMINGS = [length, chunked, until_close, zipped]


def llama_guard(request: Message) -> bytes:
    """Judge the last turn, as Llama Guard behind vLLM does; a conversation must begin with a user's."""
    turns = json.loads(request.body)["messages"]
    if [turn["role"] for turn in turns] != ["user", "assistant"][: len(turns)]:
        return saying(b"roles must alternate", status="400 Bad Request")
    verdict = "unsafe\nS1,S9" if "harm" in turns[-1]["content"] else "safe"
    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": verdict}}]}).encode()
    return saying(body, content_type="application/json")


def presidio(request: Message) -> bytes:
    """Find a card number, as Presidio's analyzer does."""
    at = json.loads(request.body)["text"].find("4111")
    found = [{"entity_type": "CREDIT_CARD", "start": at, "end": at + 16, "score": 1.0}] if at >= 0 else []
    return saying(json.dumps(found).encode(), content_type="application/json")


@contextmanager
def stage(tmp_path: Path, judge: Any, said: bytes, **keys: Any) -> Iterator[tuple[Running, Serving, Serving]]:
    with Serving(lambda _: said) as backend, Serving(judge) as service:
        keys = {"about": "responses", "kind": "openai", "timeout": "10s", **keys}
        if keys["kind"] == "openai":
            keys["model"] = "llama-guard"
        sections = {"guardrails": [{"name": "judge", "url": f"{service.url}/judge", **keys}], "routes": ROUTES}
        with threaded(tmp_path, backend.url, **sections) as running:
            yield running, backend, service


def ask(running: Running, text: str = "how are you", path: str = "/v1/chat/completions", **more: Any) -> Message:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    with running.connect() as client:
        return client.send(post(path, json.dumps(body).encode())).response()


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda each: each.__name__)
def test_a_kind_answer_arrives_as_it_was(tmp_path: Path, framing: Any) -> None:
    body = completion("all is well")
    with stage(tmp_path, llama_guard, framing(body)) as (running, backend, service):
        answers = [ask(running) for _ in range(2)]
        assert [(each.status, each.body) for each in answers] == [(200, body)] * 2
        assert [each.get(b"content-length") for each in answers] == [b"%d" % len(body)] * 2
        (asked,) = service.seen  # the second time the verdict is known
        assert json.loads(asked.body)["messages"] == [
            {"role": "user", "content": "how are you"},
            {"role": "assistant", "content": "all is well"},
        ]
        assert len(backend.seen) == 2


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda each: each.__name__)
def test_what_it_flags_does_not_reach_the_client(tmp_path: Path, framing: Any) -> None:
    with stage(tmp_path, llama_guard, framing(completion("how to do harm"))) as (running, _, __):
        answer = ask(running)
        assert answer.status == 403
        assert json.loads(answer.body)["error"]["code"] == "CONTENT_BLOCKED"
        assert b"harm" not in answer.body
        line = running.logged(event="CONTENT_BLOCKED", outcome="refused")
        detail = line["detail"]
        assert (detail["guard"], detail["categories"], detail["of"]) == ("guardrails.judge", "S1,S9", "response")
        assert detail["place"].startswith(f"{running.policy}:")
        assert "harm" not in running.log.read_text()
        # The model has worked for it: its tokens are counted all the same.
        assert ask(running).status == 403


def test_a_card_number_in_an_answer_is_held_back_and_a_stored_kind_of_key_is_not_sent(tmp_path: Path) -> None:
    said = saying(completion(f"your card is 4111111111111111, your key {KEY}"), content_type="application/json")
    with stage(tmp_path, presidio, said, kind="presidio") as (running, _, service):
        assert ask(running).status == 403
        asked = json.loads(service.seen[0].body)
        assert asked["text"] == "your card is 4111111111111111, your key [redacted]"


def test_both_are_judged_by_one_service(tmp_path: Path) -> None:
    with stage(tmp_path, llama_guard, length(completion("fine")), about="both") as (running, backend, service):
        assert ask(running, "how to do harm").status == 403
        assert (len(backend.seen), len(service.seen)) == (0, 1)
        assert ask(running).status == 200
        assert len(service.seen) == 3


def test_observed_it_is_recorded_and_passes(tmp_path: Path) -> None:
    with stage(tmp_path, llama_guard, length(completion("harm")), observe=True) as (running, _, __):
        assert ask(running).status == 200
        assert running.logged(event="CONTENT_BLOCKED", outcome="observed")["detail"]["would_be"] == 403


def broken(_: Message) -> bytes:
    return saying(b"", status="500 Broken")


def slow(_: Message) -> bytes:
    time.sleep(0.4)
    return saying(b"{}")


@pytest.mark.parametrize(
    ("judge", "said", "keys", "reason"),
    [
        (broken, length(completion("x")), {}, "OSError"),
        (slow, length(completion("x")), {"timeout": "100ms"}, "timeout"),
        (llama_guard, length(completion("x" * 3000)), {"max_response": "2KiB"}, "too_long"),
        (llama_guard, chunked(completion("x" * 3000)), {"max_response": "2KiB"}, "too_long"),
        (llama_guard, until_close(completion("x" * 3000)), {"max_response": "2KiB"}, "too_long"),
        (llama_guard, zipped(completion("x" * 3000)), {"max_response": "2KiB"}, "too_long"),
        (llama_guard, length(b'{"cut off'), {}, "unreadable"),
    ],
    ids=["broken", "slow", "long", "long-chunked", "long-until-close", "long-zipped", "no-json"],
)
def test_without_a_verdict_it_acts_as_on_failure_says(
    tmp_path: Path, judge: Any, said: bytes, keys: dict[str, Any], reason: str
) -> None:
    for name, on_failure in (("a", "refuse"), ("b", "pass")):
        (tmp_path / name).mkdir()
        with stage(tmp_path / name, judge, said, on_failure=on_failure, **keys) as (running, backend, _):
            answer = ask(running)
            if on_failure == "refuse":
                # The model has worked already: no SDK may ask it again.
                assert (answer.status, answer.get(b"x-should-retry")) == (503, b"false")
                assert running.logged(event="OVERLOADED", outcome="refused")["detail"]["reason"] == reason
            else:
                sent = said.partition(b"\r\n\r\n")[2]
                assert answer.status == 200
                assert answer.body == sent if b"chunked" not in said and b"gzip" not in said else answer.body
                line = running.logged(event="BACKEND_ERROR", outcome="allowed")
                assert (line["detail"]["reason"], line["detail"]["guard"]) == (reason, "guardrails.judge")
                assert answer.body.endswith(b"}") or reason == "unreadable"
            assert len(backend.seen) == 1


EVENTS = b'data: {"choices":[{"delta":{"content":"harm"}}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(("on_stream", "status"), [("pass", 200), ("refuse", 403)])
def test_a_stream_is_not_held_and_that_is_recorded(tmp_path: Path, on_stream: str, status: int) -> None:
    said = saying(EVENTS, content_type="text/event-stream")
    with stage(tmp_path, llama_guard, said, on_stream=on_stream) as (running, _, service):
        assert ask(running, stream=True).status == status
        event, outcome = ("MESSAGE_UNREADABLE", "allowed") if status == 200 else ("CONTENT_BLOCKED", "refused")
        assert running.logged(event=event, outcome=outcome)["detail"]["reason"] == "stream"
        assert service.seen == []


@pytest.mark.parametrize(
    "said",
    [
        saying(b"\x89PNG harm", content_type="image/png"),
        saying(b"", status="204 No Content", length=False),
        saying(b"", content_type="application/json"),
    ],
    ids=["picture", "nothing", "empty"],
)
def test_what_has_no_text_passes_unasked(tmp_path: Path, said: bytes) -> None:
    with stage(tmp_path, llama_guard, said, on_failure="pass") as (running, _, service):
        assert ask(running).status in (200, 204)
        assert service.seen == []


def test_a_backend_that_falls_silent_in_a_held_answer_is_a_timeout(tmp_path: Path) -> None:
    said = length(completion("x"))[:-10]
    with (
        Serving(lambda _: said) as backend,
        Serving(llama_guard) as service,
        threaded(
            tmp_path,
            backend.url,
            backend={"timeouts": {"idle": "1s"}},
            guardrails=[
                {"name": "judge", "url": f"{service.url}/", "kind": "openai", "model": "m", "about": "responses"}
            ],
            routes=ROUTES,
        ) as running,
    ):
        assert ask(running).status == 504
        assert service.seen == []


def test_the_tokens_of_a_refused_answer_count(tmp_path: Path) -> None:
    with (
        Serving(lambda _: length(completion("harm"))) as backend,
        Serving(llama_guard) as service,
        threaded(
            tmp_path,
            backend.url,
            budgets=[{"name": "day", "per": "organization", "limit": "1000 tokens"}],
            guardrails=[
                {"name": "judge", "url": f"{service.url}/", "kind": "openai", "model": "m", "about": "responses"}
            ],
            routes=ROUTES,
        ) as running,
    ):
        assert ask(running).status == 403
        assert running.metric("sidecar_llm_tokens_total", direction="output") == 5
        assert running.metric("sidecar_budget_remaining_ratio", budget="day") == pytest.approx(1 - 12 / 1000)


@pytest.mark.parametrize("when", ["while the answer comes", "while it is judged"])
def test_a_client_that_leaves_ends_the_exchange(tmp_path: Path, when: str) -> None:
    body = completion("all is well")
    said = length(body)[:-10] if when == "while the answer comes" else length(body)
    with stage(tmp_path, slow, said, on_failure="pass") as (running, backend, _):
        request = post("/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode())
        with running.connect() as client:
            client.send(request)
            until(lambda: len(backend.seen) == 1, "the backend to be asked")
            assert running.metric("sidecar_active_requests") == 1
        until(lambda: running.metric("sidecar_active_requests") == 0, "the exchange to end", 5)
        assert [line for line in running.lines() if line["level"] == "error"] == []
        assert running.alive()


def test_many_pieces_of_a_long_answer_arrive_in_their_order(tmp_path: Path) -> None:
    """Held as far as the bound, then passed on with what follows."""
    body = completion(" ".join(f"word{number}" for number in range(60_000)))
    with stage(tmp_path, llama_guard, chunked(body), max_response="64KiB", on_failure="pass") as (running, _, service):
        answer = ask(running)
        assert (answer.status, answer.body == body, service.seen) == (200, True, [])
