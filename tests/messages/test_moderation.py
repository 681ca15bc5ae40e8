from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sidecar.decision import KEEP, Finding, Keep, Refuse
from sidecar.messages.message_guard import build_reader
from sidecar.messages.moderation import ModerationFailed, ModerationGuard, OnFailure, OpenAIModerator, Verdict, Verdicts
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.secret import Secret
from sidecar.vocabulary import Code, Event
from tests.support.clock import FakeClock
from tests.support.exchanges import exchange

BAD = Verdict(True, ("violence",))
GOOD = Verdict(False)


class WordJudge:
    """Flags texts that hold `bad`; remembers what it was asked."""

    def __init__(self, failure: Exception | None = None, gate: threading.Event | None = None) -> None:
        self.asked: list[list[str]] = []
        self.failure = failure
        self.gate = gate

    def __call__(self, key, texts):
        self.asked.append(list(texts))
        if self.gate is not None:
            self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return [BAD if "bad" in text else GOOD for text in texts]


async def key(organization):
    return Secret("sk-" + organization)


async def no_key(organization):
    return None


@contextmanager
def moderating(judge, clock=None, protocol="plain", **words) -> Iterator[ModerationGuard]:
    words = {"key": key, "clock": clock or FakeClock()} | words
    guard = ModerationGuard(build_reader(BY_NAME[protocol], []), judge=judge, **words)
    try:
        yield guard
    finally:
        guard.close()


def post(guard, text):
    asked = exchange("POST", "/api/chat", content_type="application/json")
    return guard.inspect(asked, json.dumps({"message": text}).encode())


async def test_flagged_is_blocked_and_the_rest_passes():
    with moderating(WordJudge()) as guard:
        assert await post(guard, "good") is KEEP
        assert await post(guard, "bad") == Refuse(Code.CONTENT_BLOCKED, {"moderation": "violence"})


async def test_verdicts_are_kept_until_their_time_ends():
    clock, judge = FakeClock(), WordJudge()
    with moderating(judge, clock, ttl=60) as guard:
        for _ in range(3):
            assert isinstance(await post(guard, "bad"), Refuse)
        assert judge.asked == [["bad"]]
        clock.advance(60)
        await post(guard, "bad")
        assert judge.asked == [["bad"], ["bad"]]


async def test_only_what_is_new_in_a_history_is_asked():
    judge = WordJudge()
    with moderating(judge, protocol="openai") as guard:
        for turns in (["a"], ["a", "b"], ["a", "b", "b", " ", "c"]):
            body = json.dumps({"messages": [{"role": "user", "content": turn} for turn in turns]}).encode()
            assert await guard.inspect(exchange("POST", "/", content_type="application/json"), body) is KEEP
    assert judge.asked == [["a"], ["b"], ["c"]]


FAILURES = [
    ("the provider fails", {"judge": WordJudge(ModerationFailed("RateLimitError"))}, "RateLimitError"),
    ("no credential", {"judge": WordJudge(), "key": no_key}, "no_credential"),
]


@pytest.mark.parametrize(("words", "why"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
@pytest.mark.parametrize("on_failure", OnFailure)
async def test_failures(words, why, on_failure):
    with moderating(**words, on_failure=on_failure) as guard:
        detail = {"reason": why, "guard": "moderation"}
        refused = Refuse(Code.OVERLOADED, detail)
        passed = Keep((Finding(Event.BACKEND_ERROR, detail),))
        assert await post(guard, "x") == (refused if on_failure is OnFailure.REFUSE else passed)


async def test_waiting_has_a_bound_and_so_has_the_number_of_waiting():
    gate = threading.Event()
    try:
        with moderating(WordJudge(gate=gate), timeout=0.05) as guard:
            results = await asyncio.gather(*(post(guard, f"text {number}") for number in range(70)))
            reasons = [result.findings[0].detail["reason"] for result in results]
            assert (reasons.count("timeout"), reasons.count("too_many_waiting")) == (64, 6)
            gate.set()
    finally:
        gate.set()


async def test_what_is_no_message_is_left_to_the_guard_before():
    with moderating(WordJudge()) as guard:
        assert await guard.inspect(exchange("POST", "/", content_type="text/plain"), b"bad") is KEEP
        assert await guard.inspect(exchange("GET", "/"), b"") is KEEP


def test_the_table_of_verdicts_is_bounded():
    verdicts = Verdicts(max_entries=2, ttl=60, clock=FakeClock())
    for text in "abc":
        verdicts.put(text, GOOD)
    assert len(verdicts) == 2
    assert (verdicts.get("a"), verdicts.get("c")) == (None, GOOD)


class Provider(BaseHTTPRequestHandler):
    """Answers like the moderation endpoint; a text that starts with a status gets that status."""

    seen: list[tuple[str | None, list[str]]]

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.headers["Authorization"], asked["input"]))
        first = asked["input"][0]
        status = int(first[:3]) if first[:3].isdigit() else 200
        results = [
            {"flagged": "bad" in text, "categories": {"violence": "bad" in text, "hate": False}}
            for text in asked["input"]
        ]
        body = (
            json.dumps({"id": "x", "model": "m", "results": results}).encode()
            if status == 200
            else b'{"error":{"message":"key sk-secret"}}'
        )
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def provider():
    handler = type("Handler", (Provider,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        judge = OpenAIModerator(
            model="omni-moderation-latest", timeout=5, base_url=f"http://127.0.0.1:{server.server_port}/v1"
        )
        try:
            yield judge, handler.seen
        finally:
            judge.close()
            server.shutdown()
            thread.join()


def test_the_client_asks_with_the_key_of_the_call(provider):
    judge, seen = provider
    assert judge(Secret("sk-a"), ["x", "bad"]) == [GOOD, BAD]
    assert judge(Secret("sk-b"), ["y"]) == [GOOD]
    assert seen == [("Bearer sk-a", ["x", "bad"]), ("Bearer sk-b", ["y"])]


@pytest.mark.parametrize("status", [302, 401, 429, 500])
def test_a_failing_provider_is_one_word_without_the_key(provider, status):
    judge, seen = provider
    with pytest.raises(ModerationFailed) as caught:
        judge(Secret("sk-secret"), [f"{status}"])
    assert "sk-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(seen) == 1  # no second try, and no redirect is followed with the key
