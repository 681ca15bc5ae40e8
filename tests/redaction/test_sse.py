"""A key that a model says token by token does not pass either; all other streams do, byte for byte."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.joined_texts import MAX_PLACES
from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.sse import MAX_EVENT, EventStreamFilter
from sidecar.secret import Secret
from tests.support.redaction import SPELLINGS, cut, every, run

KEY = "sk-proj-Ab9_z0123456789/+x"
KNOWN = SecretMatcher([Secret(KEY)])


def stream(known: SecretMatcher = KNOWN) -> EventStreamFilter:
    return EventStreamFilter(known)


def openai(token: str, index: int = 0) -> bytes:
    choice = {"index": index, "delta": {"content": token}, "finish_reason": None}
    return (
        b"data: "
        + json.dumps({"id": "chatcmpl-1", "choices": [choice], "big": 12345678901234567890123}).encode()
        + b"\n\n"
    )


def arguments(token: str, index: int) -> bytes:
    call = {"index": index, "function": {"arguments": token}}
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"


def responses(token: str) -> bytes:
    event = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": token}
    return b"event: response.output_text.delta\ndata: " + json.dumps(event).encode() + b"\n\n"


def anthropic(token: str) -> bytes:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": token}}
    return b"event: content_block_delta\r\ndata: " + json.dumps(event).encode() + b"\r\n\r\n"


def chatkit(token: str) -> bytes:
    event = {
        "type": "thread.item.updated",
        "update": {"type": "assistant_message.content_part.text_delta", "delta": token},
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def text_of(events: bytes) -> str:
    """Join what a reader joins: independent of the product's own paths."""
    return "".join(leaf for event in parsed(events) for leaf in leaves(event))


def parsed(events: bytes) -> list[object]:
    lines = events.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return [
        json.loads(line[5:]) for line in lines if line.startswith(b"data:") and line[5:].strip() not in {b"[DONE]", b""}
    ]


def leaves(value: object, name: str = "") -> Iterable[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, key)
    elif isinstance(value, list):
        for below in value:
            yield from leaves(below, name)
    elif isinstance(value, str) and name in {"content", "delta", "text", "arguments"}:
        yield value


SHAPES = {"openai": openai, "responses": responses, "anthropic": anthropic, "chatkit": chatkit}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 40])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", ["raw", "hex", "base64-second", "url-all", "json-twice"])
def test_a_key_said_token_by_token(shape: str, size: int, way: str) -> None:
    said = SPELLINGS[way](KEY).decode()
    whole = f"Your key is {said}, is it not?"
    events = b"".join(SHAPES[shape](whole[at : at + size]) for at in range(0, len(whole), size))
    filtered = stream()
    text = text_of(run(filtered, every(events, 61)))
    assert text.startswith("Your key is ")
    assert text.endswith(", is it not?")
    assert text.count("[redacted]") == 1
    assert said[8:-8] not in text
    assert filtered.counts == {"known": 1}


tokens = st.lists(st.text(string.ascii_letters + string.digits + ' -_/+%\\"\n.s😀', max_size=8), max_size=20)
places = st.lists(st.integers(0, 5000), max_size=15)


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(said=tokens, shape=st.sampled_from(sorted(SHAPES)), at=places, ending=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_without_a_secret_is_unchanged(said: list[str], shape: str, at: list[int], ending: bytes) -> None:
    events = (
        b"\xef\xbb\xbf: hello\n\nretry: 100\nid: 7\n\n"
        + b"".join(map(SHAPES[shape], said))
        + b"data: [DONE]\n\n: bye\n"
    )
    events = events.replace(b"\r\n", b"\n").replace(b"\n", ending)
    filtered = stream()
    assert run(filtered, cut(events, at)) == events
    assert filtered.counts == {}


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(
    secret=st.text(string.ascii_letters + string.digits + "-_.+/=", min_size=10, max_size=60),
    cuts=places,
    at=places,
    lead=st.text("ab s", max_size=20),
)
def test_no_cut_of_a_key_into_deltas_passes(secret: str, cuts: list[int], at: list[int], lead: str) -> None:
    whole = f"{lead} {secret} end"
    pieces = [piece.decode() for piece in cut(whole.encode(), cuts)]
    filtered = stream(SecretMatcher([Secret(secret)]))
    clean = run(filtered, cut(b"".join(map(openai, pieces)), at))
    assert secret not in text_of(clean)
    assert text_of(clean).endswith(" end")
    assert filtered.counts["known"] >= 1


def test_interleaved_texts_are_kept_apart() -> None:
    halves = (KEY[:10], KEY[10:])
    events = openai(halves[0], 0) + openai("fine ", 1) + arguments('{"k":"' + halves[0], 3) + openai("text", 1)
    events += openai(halves[1] + " a", 0) + arguments(halves[1] + '"}', 3) + openai("!", 1)
    clean = run(stream(), [events])
    by_choice = [
        "".join(c["delta"].get("content", "") for e in parsed(clean) for c in e["choices"] if c["index"] == n)
        for n in (0, 1)
    ]
    assert by_choice == ["[redacted] a", "fine text!"]
    calls = [call for e in parsed(clean) for c in e["choices"] for call in c["delta"].get("tool_calls", ())]
    assert "".join(call["function"]["arguments"] for call in calls) == '{"k":"[redacted]"}'
    assert [len(e["choices"]) for e in parsed(clean)] == [1] * 7, "as many events, in their order"


def test_an_index_that_counts_tokens_does_not_tear_the_text() -> None:
    pieces = (KEY[:5], KEY[5:11], KEY[11:], ".")
    events = [
        b"data: " + json.dumps({"index": at, "token": {"id": 7, "text": piece}}).encode() + b"\n\n"
        for at, piece in enumerate(pieces)
    ]
    assert text_of(run(stream(), events)) == "[redacted]."


def test_an_event_leaves_at_once_unless_its_text_is_live() -> None:
    filtered = stream()
    assert filtered.feed(openai("Hello")) == openai("Hello")
    assert filtered.feed(openai(" there s")) == b""
    assert filtered.feed(openai("k-proj-")) == b""
    assert filtered.feed(openai("ect")) == openai(" there s") + openai("k-proj-") + openai("ect")
    assert filtered.feed(b": ping\n") == b": ping\n", "keep-alive comments do not wait for a blank line"
    assert filtered.feed(openai("items")) == b""
    assert filtered.feed(b"data: [DONE]\n\n") == openai("items") + b"data: [DONE]\n\n", "the end decides"


def test_the_end_decides_in_a_stream_of_plain_words_too() -> None:
    filtered = build_redaction(KNOWN, (), Problems()).filter_for(b"text/event-stream")
    assert filtered is not None
    for number in range(6):
        assert filtered.feed(b"data: word %d\n\n" % number)
    assert filtered.feed(b"data: sk-proj-Ab9\n\n") == b"", "it may be the beginning of the key"
    assert filtered.feed(b"data: [DONE]\n\n") == b"data: sk-proj-Ab9\n\ndata: [DONE]\n\n"


def test_events_that_repeat_the_whole_text() -> None:
    done = {"type": "response.output_text.done", "text": f"the key is {KEY}", "sequence": 12345678901234567890}
    event = b"event: response.output_text.done\nid: 5\ndata: " + json.dumps(done).encode() + b"\n\n"
    clean = run(stream(), every(event, 7))
    assert clean == event.replace(KEY.encode(), b"[redacted]")


def test_a_changed_event_keeps_its_other_lines_and_numbers() -> None:
    first = (
        openai("x " + KEY[:9])
        .replace(b"data:", b": note\r\nid: 1\r\nevent: e\r\ndata:", 1)
        .replace(b"\n\n", b"\r\n\r\n")
    )
    clean = run(stream(), [first, openai(KEY[9:] + "y")])
    head, _, rest = clean.partition(b"data: ")
    assert head == b": note\r\nid: 1\r\nevent: e\r\n"
    assert b"12345678901234567890123" in rest.partition(b"\r\n\r\n")[0]
    assert text_of(clean) == "x [redacted]y"


def test_data_over_several_lines() -> None:
    event = b'data: {"delta":\ndata: "my %s"}\n\n' % KEY[:12].encode()
    clean = run(stream(), [event, b'data: {"delta":\ndata:  "%s."}\n\n' % KEY[12:].encode()])
    assert clean == b'data: {"delta":\ndata: "my [redacted]"}\n\ndata: {"delta":\ndata:  "."}\n\n'


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(b"data: key %s", b"data:%s!", b"data: key [redacted]\n\ndata:!\n\n", id="plain-text-tokens"),
        pytest.param(b'data: "key %s"', b'data: "%s!"', b'data: "key [redacted]"\n\ndata: "!"\n\n', id="json-strings"),
        pytest.param(
            b'data: {"delta": "key %s',
            b'data: {"delta": "%s!"}',
            b'data: {"delta": "key [redacted]\n\ndata: {"delta": "!"}\n\n',
            id="broken-json",
        ),
        pytest.param(b"data: key %s", b"data: 5\ndata: %s!", None, id="another-line-between"),
    ],
)
def test_data_that_is_no_object(first: bytes, second: bytes, expected: bytes | None) -> None:
    events = first % KEY[:10].encode() + b"\n\n" + second % KEY[10:].encode() + b"\n\n"
    clean = run(stream(), every(events, 5))
    if expected is None:
        assert clean == events, "no reader joins these"
    else:
        assert clean == expected


def test_broken_json_with_a_whole_key() -> None:
    clean = run(stream(), every(b'data: {"delta": "%s\n\n' % KEY.encode(), 3))
    assert clean == b'data: {"delta": "[redacted]\n\n'


def test_a_long_event_is_cleaned_while_it_passes() -> None:
    filtered = stream()
    body = b'data: {"text":"' + b"x " * (MAX_EVENT // 2)
    early = filtered.feed(body) + filtered.feed(KEY[:9].encode())
    assert len(early) > MAX_EVENT - 100
    late = filtered.feed(KEY[9:].encode() + b'"}\n\n' + openai("after")) + filtered.finish()
    assert early + late == body + b'[redacted]"}\n\n' + openai("after")


def test_what_waits_is_bounded_and_what_was_live_goes() -> None:
    filtered = stream()
    sent = filtered.feed(openai("my sk-proj-"))
    for number in range(6000):
        sent += filtered.feed(b'data: {"id":%d}\n\n' % number)
    assert len(sent) > 50_000
    assert text_of(sent) == "my [redacted]"
    assert filtered.counts == {"undecided": 1}


def test_texts_are_bounded() -> None:
    filtered = stream()
    for number in range(3 * MAX_PLACES):
        filtered.feed(openai("hello", number))
    assert len(filtered._joined._places) <= MAX_PLACES
    assert filtered.counts == {}


def test_an_unfinished_event_at_the_end_passes_clean() -> None:
    assert run(stream(), [b"data: half an ev"]) == b"data: half an ev"
    assert run(stream(), [b"data: half " + KEY.encode()]) == b"data: half [redacted]"


def test_halves_of_surrogate_pairs_pass() -> None:
    events = b'data: {"delta":"a \\ud83d"}\n\ndata: {"delta":"\\ude00 b"}\n\n'
    assert run(stream(), every(events, 9)) == events
