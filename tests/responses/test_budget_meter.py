"""Counting a stream: what is estimated, what is reported, and where it ends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.budget import Budget, BudgetPer, Unit
from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.guards.budgets.spend import Share, Spend
from sidecar.prices import PriceTable, list_prices
from sidecar.responses.budget_meter import BudgetMeter
from sidecar.responses.stream_end import StreamEnded
from sidecar.responses.token_usage import UsageCounter
from sidecar.stores.budget_ledger import BudgetLedger
from sidecar.stores.memory_budgets import MemoryBudgets
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder, exchange

SSE, LINES, JSON = b"text/event-stream", b"application/x-ndjson", b"application/json"
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "openai-responses": "/v1/responses"}


@dataclass
class Answer:
    index: dict[bytes, bytes]
    status: int = 200


@dataclass
class Bench:
    """One request that holds what it may need, and the meter of its answer."""

    exchange: Exchange
    spend: Spend
    meter: ResponseFilter | None
    recorder: Recorder
    counted: dict[str, int] = field(default_factory=dict)

    def feed(self, *pieces: bytes) -> bytes:
        assert self.meter is not None
        return b"".join(map(self.meter.feed, pieces))

    def end(self) -> None:
        for release in self.exchange.releases:
            release()


def bench(
    protocol: str = "openai", kind: bytes = SSE, limit: int = 100_000, made: int = 50_000, status: int = 200
) -> Bench:
    ledger, recorder = BudgetLedger(MemoryBudgets(), FakeClock()), Recorder()
    asked = exchange("POST", PATHS.get(protocol, "/x"))
    asked.organization = "acme"
    budget = Budget("day", BudgetPer.IP, Unit.TOKENS, limit, 86_400.0)
    spend = Spend(ledger, "acme", [Share(budget, "x", True)], list_prices()["gpt-4o"])
    spend.model = "gpt-4o"
    spend.reserved(spend.reserve(10, made))  # type: ignore[arg-type]  # memory answers at once
    asked.spend = spend
    counted: dict[str, int] = {}

    def count(_: str, __: str, ___: str, direction: str, number: int) -> None:
        counted[direction] = counted.get(direction, 0) + number

    counter = UsageCounter("openai", count, lambda *_: None, PriceTable())
    meter = BudgetMeter(counter, ledger, recorder, protocol).for_answer(asked, Answer({b"content-type": kind}, status))
    return Bench(asked, spend, meter, recorder, counted)


def event(value: Any, name: str = "", newline: bytes = b"\n") -> bytes:
    head = b"event: " + name.encode() + newline if name else b""
    return head + b"data: " + json.dumps(value).encode() + newline * 2


def chat(text: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}}], "usage": None})


@pytest.mark.parametrize(
    ("protocol", "kind", "pieces", "made"),
    [
        pytest.param("openai", SSE, [chat(" one"), chat(" two")], 2, id="openai"),
        pytest.param("openai", SSE, [chat("") + event({"choices": []})], 0, id="empty"),
        pytest.param("openai", SSE, [chat("one two three four")], 4, id="several-tokens"),
        pytest.param("openai", SSE, [chat('a "b" \\ c \u00e9 d')], 8, id="escapes"),
        pytest.param("openai", SSE, [chat(' {"content": "no"} ')], 7, id="json-in-a-text"),
        pytest.param(
            "openai",
            SSE,
            [event({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": '{"a"'}}]}}]})],
            1,
            id="tool-call",
        ),
        pytest.param(
            "anthropic",
            SSE,
            [event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": " one"}}, "x")],
            1,
            id="anthropic",
        ),
        pytest.param(
            "openai-responses",
            SSE,
            [
                event({"type": "response.output_text.delta", "delta": " one"}),
                event({"type": "response.output_text.done", "text": " one and all that was said before"}),
            ],
            1,
            id="responses-says-all-again",
        ),
        pytest.param("openai", SSE, [chat(" one").replace(b"\n", b"\r\n") * 2], 2, id="carriage-returns"),
        pytest.param("openai", SSE, [chat(" one")[:30], chat(" one")[30:] + chat(" two")[:9], chat(" two")[9:]], 2,
                     id="cut-anywhere"),
        pytest.param("openai", SSE, [bytes([each]) for each in chat(" one") + chat(" two")], 2, id="byte-by-byte"),
        pytest.param("openai", SSE, [chat(" one").rstrip()], 1, id="no-end-of-event"),
        pytest.param("ollama", LINES, [b'{"message":{"content":" one"},"done":false}\n'] * 3, 3, id="lines"),
        pytest.param("plain", b"text/plain", [b"four bytes are one token"] * 2, 12, id="text"),
    ],
)  # fmt: skip
async def test_what_is_estimated(protocol: str, kind: bytes, pieces: list[bytes], made: int) -> None:
    one = bench(protocol, kind)
    assert one.feed(*pieces) == b"".join(pieces)
    assert one.meter is not None
    one.meter.finish()
    assert one.spend.made == made
    assert one.exchange.usage is None or one.exchange.usage.estimated


async def test_what_is_reported_replaces_the_estimate() -> None:
    one = bench()
    usage = {"prompt_tokens": 33, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 30}}
    one.feed(
        chat(" one") * 5, event({"model": "gpt-4o-2024-08-06", "choices": [], "usage": usage}), b"data: [DONE]\n\n"
    )
    assert one.meter is not None
    one.meter.finish()
    assert (one.spend.given, one.spend.made, one.spend.cached) == (33, 7, 30)
    assert one.counted == {"input": 33, "output": 7}
    used = one.exchange.usage
    assert used is not None
    assert used == ("gpt-4o-2024-08-06", 33, 7, 3 * 2500 + 30 * 1250 + 7 * 10_000, False)


async def test_anthropic_reports_at_both_ends() -> None:
    one = bench("anthropic")
    begun = {
        "model": "claude-sonnet-4-5",
        "usage": {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 90},
    }
    one.feed(event({"type": "message_start", "message": begun}, "message_start"))
    assert (one.spend.given, one.spend.made) == (95, 1)
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": " one"}}
    one.feed(event(delta, "content_block_delta") * 40)
    assert one.spend.made == 41
    one.feed(event({"type": "message_delta", "usage": {"output_tokens": 38}}, "message_delta"))
    assert (one.spend.given, one.spend.made) == (95, 38)
    one.end()
    assert one.counted == {"input": 5, "output": 38}, "the metric holds what the provider calls its input"


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_where_a_stream_ends(size: int) -> None:
    one = bench(limit=60, made=20)
    heard: list[bytes] = []

    def stream() -> None:
        pieces = (range(number, number + size) for number in range(0, 300, size))
        heard.extend(one.feed(b"".join(chat(f" w{each}") for each in piece)) for piece in pieces)

    with pytest.raises(StreamEnded) as ended:
        stream()
    text = b"".join(heard) + ended.value.last
    assert text.count(b'"content"') == 50, "the budget of 60, less 10 of input"
    last = text.rstrip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "The budget is used up"
    assert ended.value.complete
    one.end()
    (event_,) = one.recorder.events
    assert event_.event.name == "BUDGET_EXCEEDED"
    assert event_.detail == {
        "budget": "day", "per": "ip", "limit": "60 tokens", "on_end": "stop", "input": 10, "output": 50,
    }  # fmt: skip
    assert one.spend.left == [0]


async def test_the_end_stands_between_two_events() -> None:
    one = bench(limit=20, made=5)
    whole = b"".join(chat(f" w{number}") for number in range(12))
    heard = one.feed(whole[:100])
    with pytest.raises(StreamEnded) as ended:
        one.feed(whole[100:])
    assert (heard + ended.value.last).startswith(
        b"".join(chat(f" w{number}") for number in range(10)) + b'data: {"error"'
    )


@pytest.mark.parametrize("status", [400, 401, 404, 429])
async def test_what_is_no_success_is_not_counted(status: int) -> None:
    one = bench(status=status)
    assert one.meter is None
    assert not one.spend.answered


@pytest.mark.parametrize(
    ("body", "given", "made"),
    [
        pytest.param({"usage": {"prompt_tokens": 4, "completion_tokens": 9}}, 4, 9, id="reported"),
        pytest.param({"choices": [{"message": {"content": "one two three four"}}]}, 10, 4, id="estimated"),
        pytest.param({"pad": "x" * 400_000, "usage": {"prompt_tokens": 4, "completion_tokens": 9}}, 4, 9, id="long"),
    ],
)
async def test_a_json_answer(body: dict[str, Any], given: int, made: int) -> None:
    text = json.dumps(body).encode()
    one = bench(kind=JSON)
    assert one.feed(*(text[at : at + 65_536] for at in range(0, len(text), 65_536))) == text
    assert one.meter is not None
    one.meter.finish()
    assert (one.spend.given, one.spend.made) == (given, made)


async def test_a_client_that_leaves_has_used_what_came() -> None:
    one = bench()
    one.feed(chat(" one") * 5)
    one.end()
    assert one.spend.closed
    assert one.spend.left == [100_000 - 15]
    assert one.counted == {"input": 10, "output": 5}


PIECES = st.lists(
    st.sampled_from([chat(" one"), chat(""), b"\n\n", b"\r\n\r\n", b"data: ", b'"content": "', b"\\", b'"', b": x\n"])
    | st.binary(max_size=30),
    max_size=30,
)


@pytest.mark.parametrize("kind", [SSE, LINES, JSON, b"text/plain"])
@given(pieces=PIECES)
def test_whatever_comes_passes_as_it_is(kind: bytes, pieces: list[bytes]) -> None:
    async def passed() -> None:
        one = bench(kind=kind)
        assert one.feed(*pieces) == b"".join(pieces)
        assert one.meter is not None
        assert one.meter.finish() == b""
        assert one.spend.made >= 0
        one.end()

    asyncio.run(passed())


@given(
    texts=st.lists(
        st.sampled_from(["", " the", " on,", "x" * 30, " a b c d, e", 'say "so"', "\n", "é so on and on"]), max_size=40
    ),
    cuts=st.booleans(),
)
async def test_events_that_differ_in_their_text_alone_are_counted_like_others(texts: list[str], cuts: bool) -> None:
    one = bench()
    events = [chat(text) for text in texts]
    body = b"".join(events)
    one.feed(*([body[at : at + 100] for at in range(0, len(body), 100)] if cuts else events))
    made = 0
    for each in events:
        alone = bench()
        alone.feed(each)
        made += alone.spend.made
    assert one.spend.made == made


async def test_one_event_without_an_end_is_bounded() -> None:
    one = bench()
    for _ in range(64):
        one.feed(b"data: " + b"x" * 65_536)
    assert len(one.meter._rest) <= 256 * 1024  # type: ignore[union-attr]
