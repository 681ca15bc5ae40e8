"""What a client can make a backend echo costs searches in proportion, and what holds nothing passes unread."""

from __future__ import annotations

import json
import sys
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import Problems
from sidecar.redaction.filters import Redaction, build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret
from tests.support.redaction import every, run

KEY = "sk-proj-Ab9_z0123456789/+x"
PATTERNS = ("openai", "stripe", "aws", "private_key")
HOSTILE = {
    "start-of-shape": ("sk-", KEY, PATTERNS),
    "start-inside-words": ("xsk-", KEY, PATTERNS),
    "start-of-exact-shape": ("AKIA", KEY, PATTERNS),
    "name-of-a-value": ("token=", KEY, ("generic",)),
    "url-escapes": ("%73", KEY, ()),
    "json-escapes": ("\\u0073", KEY, ()),
    "head-of-the-secret": (KEY[:16], KEY, ()),
    "periodic-but-its-end": ("a", "a" * 39 + "b", ()),
    "periodic": ("a", "a" * 40, ()),
    "backslashes": ("\\", KEY, ()),
    "entities": ("&#115;", KEY, ()),
    "zero-width": ("s\u200b", KEY, ()),
    "base64-of-escapes": ("JiMxMTU7", KEY, ()),
    "words-of-base64": ("c2stcHJvai1BYj c2stcHJvai1BYjlf ", KEY, ()),
    "hex-of-text": ("736b2d70726f6a2d41", KEY, ()),
    "utf-16": ("s\0", KEY, ()),
}


def build(*secrets: str, patterns: tuple[str, ...] = ()) -> Redaction:
    return build_redaction(SecretMatcher(map(Secret, secrets)), patterns, Problems())


def operations(redaction: Redaction, text: bytes, size: int) -> int:
    """Count the calls that a text takes, in Python and into C."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    stream = redaction.filter_for(b"text/plain")
    assert stream is not None
    sys.setprofile(seen)
    try:
        run(stream, every(text, size))
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("size", [1024, 16384])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_in_proportion(name: str, size: int) -> None:
    unit, secret, patterns = HOSTILE[name]
    redaction = build(secret, patterns=patterns)
    text = (unit * 70_000).encode()[:16384]
    operations(redaction, text[:2048], size)  # automata are built when first needed
    once = operations(redaction, text, size)
    assert once < 16 * len(text), "tens of calls for each byte would stall the loop"
    assert operations(redaction, text * 3, size) < 4 * once + 200


BOTH = build(KEY, patterns=PATTERNS)
VALUES = st.lists(
    st.sampled_from([KEY, KEY[:12], "sk_live_a1b2c3d4e5f6g7h8i9", "AKIA", "task", "%73", " ", "x"]), max_size=6
)


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(values=st.lists(VALUES.map("".join), max_size=5))
def test_a_block_without_suspicion_holds_no_value_that_changes(values: list[str]) -> None:
    redaction = BOTH
    block = "".join(f"X-{at}: {value}\r\n" for at, value in enumerate(values)).encode()
    if any(redaction.redact_value(value.encode()) != value.encode() for value in values):
        assert redaction.suspicious(block)


def test_an_ordinary_block_is_not_suspicious() -> None:
    redaction = BOTH
    assert not redaction.suspicious(b"Content-Type: application/json\r\nX-Powered-By: Express\r\nVary: Origin\r\n")
    assert not build_redaction(None, (), Problems()).suspicious(KEY.encode())


TOKENS = st.lists(
    st.sampled_from(
        [
            "s",
            "sk",
            "k-pro",
            "j-",
            "sk-proj-",
            KEY[8:],
            KEY[:9],
            KEY[9:],
            " the",
            "a\n",
            "%3",
            "Dx",
            "x",
            "AKIA",
            "A1B2C3D4E5F6G7H8",
        ]
    ),
    max_size=14,
)


@settings(deadline=None)  # automata are built for each example, on whatever machine this is
@given(said=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["content", "refusal"])), max_size=14), tokens=TOKENS)
def test_reading_only_loud_events_changes_nothing(said: list[tuple[int, str]], tokens: list[str]) -> None:
    redaction = BOTH
    events = [
        b"data: %s\n\n" % json.dumps({"choices": [{"index": index, "delta": {name: token}}]}).encode()
        for (index, name), token in zip(said, tokens, strict=False)
    ]
    quick = redaction.filter_for(b"text/event-stream")
    slow = redaction.filter_for(b"text/event-stream")
    assert quick is not None
    assert slow is not None
    slow._joined._question = None  # type: ignore[attr-defined]
    assert run(quick, events) == run(slow, events)
    assert quick.counts == slow.counts
