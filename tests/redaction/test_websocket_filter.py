"""Every frame of a socket is looked at, and texts run over frames of either kind."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.scanner import Hit
from sidecar.redaction.websocket_filter import MAX_CONTROL, MAX_REASON, FrameFilter
from sidecar.secret import Secret

KEY = "sk-proj-Ab9_z0123456789x"


def frames() -> FrameFilter:
    return FrameFilter(SecretMatcher([Secret(KEY)]))


@pytest.mark.parametrize("kinds", [(False, True), (True, True), (True, False), (False, False)], ids=str)
def test_a_key_over_two_messages(kinds: tuple[bool, bool]) -> None:
    first, second = kinds
    socket = frames()
    assert socket.take(b"my " + KEY[:9].encode(), binary=first) == []
    assert socket.take(KEY[9:].encode() + b"\xff!", binary=second) == [(b"my [redacted]", first), (b"\xff!", second)]


def test_a_text_is_joined_over_what_left_because_nothing_came() -> None:
    socket = frames()
    assert socket.take(b"my sk-proj-", binary=False) == []
    assert socket.rest() == [(b"my sk-proj-", False)]
    assert socket.take(KEY[8:].encode() + b"!", binary=False) == [(b"[redacted]!", False)]


def test_control_frames() -> None:
    socket = frames()
    assert socket.control(b"") == b""
    assert socket.control(b"\x00\x01beat") == b"\x00\x01beat"
    assert socket.control(KEY.encode()) == b"[redacted]"
    assert socket.control(b"a sk-proj-Ab9") == b"a [redacted]", "the beginning of a key cannot wait for the next frame"
    assert socket.control(KEY[11:].encode() + b".") == b"[redacted]."
    assert len(socket.control((KEY[:8] + " ").encode() * 12 + KEY.encode()[:17])) <= MAX_CONTROL


@pytest.mark.parametrize("head", [b"", b"\x00\x00\x00\x1a", b"42"], ids=["plain", "length", "number"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_json_in_pieces_in_messages_of_either_kind(binary: bool, head: bytes) -> None:
    socket = frames()
    sent = [head + b'{"d":"%s"}' % piece for piece in (b"my sk-proj-", b"Ab9_z012", b"3456789x!")]
    shown = [one for message in sent for one, _ in socket.take(message, binary=binary)]
    assert shown == [head + b'{"d":"%s"}' % piece for piece in (b"my [redacted]", b"", b"!")]


def test_json_in_a_json_string_as_sockjs_sends_it() -> None:
    socket = frames()
    sent = [rb'a["{\"d\":\"%s\"}"]' % piece for piece in (b"my sk-proj-", b"Ab9_z012", b"3456789x!")]
    shown = [one for message in sent for one, _ in socket.take(message, binary=False)]
    assert shown == [rb'a["{\"d\":\"%s\"}"]' % piece for piece in (b"my [redacted]", b"", b"!")]


def test_a_close_reason_that_was_cut_within_a_key() -> None:
    reason = b"provider said: Incorrect API key provided: " + KEY.encode()[:21]
    assert frames().close_reason(reason) == b"provider said: Incorrect API key provided: [redacted]"
    assert frames().close_reason(b"going away, ask") == b"going away, ask"


def test_a_close_reason_does_not_say_whether_a_guess_begins_a_key() -> None:
    for guess in (KEY[:12], KEY[:11] + "~"):
        assert frames().close_reason(b"unknown: " + guess.encode()) == b"unknown: " + guess.encode()


@pytest.mark.parametrize("reason", [KEY + "é" * 49, KEY, "é" * 47 + KEY])
def test_close_reasons(reason: str) -> None:
    shown = frames().close_reason(reason.encode()).decode()
    assert KEY not in shown
    assert len(shown.encode()) <= MAX_REASON
    assert "[redacted]" in shown


TOKENS = [
    b'42["stream_token",{"id":"5b0c7e0e","token":"%b","isSequence":false}]',
    b'42["chat-events",{"chat_id":"c","data":{"type":"chat:completion","data":{"choices":[{"delta":{"content":"%b"}}]}}}]',
    b'{"seq":7,"text":"%b"}',
]


@pytest.mark.parametrize("form", TOKENS, ids=["chainlit", "open-webui", "json"])
@given(cuts=st.lists(st.integers(1, len(KEY) - 1), max_size=4), before=st.integers(0, 6), binary=st.booleans())
def test_a_key_in_tokens_like_many_before_them(form: bytes, cuts: list[int], before: int, binary: bool) -> None:
    """Messages that are like earlier ones leave without being read, but for the text that differs."""
    redaction = build_redaction(SecretMatcher([Secret(KEY)]), ["openai"], Problems())
    socket = redaction.frames()
    assert socket is not None
    ends = [*sorted(set(cuts)), len(KEY)]
    pieces = [KEY[start:end].encode() for start, end in zip([0, *ends], ends, strict=False)]
    words = [b"word%d " % number for number in range(before)]
    sent = [form % piece for piece in (*words, *pieces, b" and", b" on")]
    shown = [one for message in sent for one, _ in socket.take(message, binary=binary)]
    shown += [one for one, _ in socket.rest()]
    start, end = form.split(b"%b")
    text = b"".join(one.removeprefix(start).removesuffix(end) for one in shown)
    assert text == b"".join(words) + b"[redacted] and on"
    assert len(shown) == len(sent)


def test_tokens_that_are_alike_are_not_read() -> None:
    read: list[bytes] = []

    class Counting(SecretMatcher):
        def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:
            read.append(text)
            return super().scan(text, before, final)

    def question(text: bytes) -> bool:
        return b"sk-" in text

    socket = FrameFilter(Counting([Secret(KEY)]), question=question)
    sent = [TOKENS[1] % (b"word%d " % number) for number in range(50)]
    assert [one for message in sent for one, _ in socket.take(message, binary=False)] == sent
    assert not any(b"word9 " in text for text in read)
