"""Every frame of a socket is looked at, and texts run over frames of either kind."""

from __future__ import annotations

import pytest

from sidecar.redaction.matcher import SecretMatcher
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
    reason = b"provider said: Incorrect API key provided: " + KEY.encode()[:19]
    assert frames().close_reason(reason) == b"provider said: Incorrect API key provided: [redacted]"
    assert frames().close_reason(b"going away, ask") == b"going away, ask"


@pytest.mark.parametrize("reason", [KEY + "é" * 49, KEY, "é" * 47 + KEY])
def test_close_reasons(reason: str) -> None:
    shown = frames().close_reason(reason.encode()).decode()
    assert KEY not in shown
    assert len(shown.encode()) <= MAX_REASON
    assert "[redacted]" in shown
