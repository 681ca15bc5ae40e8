"""One filter for each answer that needs one, made of the policy's names and the vault's secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sidecar.errors import Problems
from sidecar.redaction.filters import PATTERN_NAMES, Redaction, build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.redaction.sse import EventStreamFilter
from sidecar.secret import Secret
from tests.support.redaction import run

KEY = "our-own-key-0123456789"
THEIRS = "sk_live_a1b2c3d4e5f6g7h8i9"
KNOWN = SecretMatcher([Secret(KEY)])


def build(known: SecretMatcher | None = KNOWN, *patterns: str) -> Redaction:
    problems = Problems()
    redaction = build_redaction(known, patterns, problems)
    assert not problems.found
    return redaction


TYPES = [
    # type, is our key taken out, is theirs
    (b"application/json", True, True),
    (b"Application/JSON; charset=utf-8", True, True),
    (b"text/html", True, True),
    (b"text/event-stream", True, True),
    (b"application/problem+json", True, True),
    (b"image/svg+xml", True, True),
    (b"", True, True),
    (b"image/png", True, False),
    (b"audio/mpeg", True, False),
    (b"application/octet-stream", True, False),
]


@pytest.mark.parametrize(("kind", "ours", "theirs"), TYPES, ids=[kind.decode() or "none" for kind, *_ in TYPES])
def test_what_is_looked_for_in_a_type(kind: bytes, ours: bool, theirs: bool) -> None:
    stream = build(KNOWN, "stripe").filter_for(kind)
    assert stream is not None
    text = run(stream, [f"{KEY} {THEIRS} \n\n".encode()])
    assert (KEY.encode() not in text, THEIRS.encode() not in text) == (ours, theirs)
    assert stream.counts == {**({"known": 1} if ours else {}), **({"stripe": 1} if theirs else {})}


@pytest.mark.parametrize(
    ("known", "patterns", "text", "picture"),
    [
        pytest.param(None, (), False, False, id="nothing"),
        pytest.param(SecretMatcher([]), (), False, False, id="no-secret-yet"),
        pytest.param(KNOWN, (), True, True, id="known-only"),
        pytest.param(None, ("stripe", "generic"), True, False, id="patterns-only"),
    ],
)
def test_no_filter_where_nothing_is_looked_for(
    known: SecretMatcher | None, patterns: tuple[str, ...], text: bool, picture: bool
) -> None:
    redaction = build(known, *patterns)
    assert (redaction.filter_for(b"text/plain") is not None) is text
    assert (redaction.filter_for(b"text/event-stream") is not None) is text
    assert (redaction.filter_for(b"image/png") is not None) is picture
    assert (redaction.frames() is not None) is text
    assert redaction.active is text


def test_another_set_of_secrets_serves_the_next_answers() -> None:
    redaction = build(KNOWN)
    old = redaction.filter_for(b"text/plain")
    redaction.know(SecretMatcher([Secret("rotated-key-0123456789")]))
    new = redaction.filter_for(b"text/plain")
    assert old is not None
    assert new is not None
    both = f"{KEY} rotated-key-0123456789".encode()
    assert run(old, [both]) == b"[redacted] rotated-key-0123456789"
    assert run(new, [both]) == KEY.encode() + b" [redacted]"


def test_unknown_names_are_problems_at_their_places() -> None:
    problems = Problems("redaction.patterns")
    build_redaction(None, ["stripe", "strype"], problems)
    assert [problem.path for problem in problems.found] == ["redaction.patterns[1]"]
    assert '"strype"' in str(problems.found[0])
    assert {"openai", "stripe", "aws", "private_key", "generic", "handle"} <= PATTERN_NAMES


def test_complete_values() -> None:
    redaction = build(KNOWN, "stripe")
    counts: dict[str, int] = {}
    value = b"https://example.com/cb?x=1"
    assert redaction.redact_value(value, counts) is value
    assert redaction.redact_value(f"k={KEY}&s={THEIRS}".encode(), counts) == b"k=[redacted]&s=[redacted]"
    assert counts == {"known": 1, "stripe": 1}
    assert build(None).redact_value(KEY.encode()) == KEY.encode()


def test_a_key_of_another_token_by_token() -> None:
    stream = build(None, "stripe").filter_for(b"text/event-stream")
    assert isinstance(stream, EventStreamFilter)
    whole = f"it is {THEIRS}, yes"
    events = [
        b"data: " + json.dumps({"delta": whole[at : at + 2]}).encode() + b"\n\n" for at in range(0, len(whole), 2)
    ]
    text = "".join(json.loads(line[5:])["delta"] for line in run(stream, events).splitlines() if line)
    assert text == "it is [redacted], yes"


def test_messages_of_a_socket_keep_their_borders() -> None:
    frames = build().frames()
    assert frames is not None
    assert frames.feed(b'{"type":"delta","delta":"hi "}') == [b'{"type":"delta","delta":"hi "}']
    assert frames.feed(b'{"type":"delta","delta":"x our-own-"}') == []
    assert frames.feed(b'{"type":"delta","delta":"key-0123456789 y"}') == [
        b'{"type":"delta","delta":"x [redacted]"}',
        b'{"type":"delta","delta":" y"}',
    ]
    assert frames.feed(b"plain our-own-key") == []
    assert frames.feed(b"-0123456789.") == [b"plain [redacted]", b"."]
    assert frames.feed(f'["{KEY}"]'.encode()) == [b'["[redacted]"]']
    assert frames.feed(b"tail o") == []
    assert frames.finish() == [b"tail o"]
    assert frames.counts == {"known": 3}


def test_the_documentation_names_every_pattern() -> None:
    page = (Path(__file__).parents[2] / "docs" / "redaction.md").read_text()
    listed = page.partition("## Patterns")[2].partition("\n* ")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == PATTERN_NAMES


def test_pieces_that_the_documentation_says_are_not_joined() -> None:
    redaction = build()
    first, second = KEY[:9].encode(), KEY[9:].encode()
    assert (redaction.redact_value(first), redaction.redact_value(second)) == (first, second), "two header fields"
    places = b'{"title":"' + first + b'"}\n{"text":"' + second + b'"}\n'
    parts = b"--x\r\n\r\n" + first + b"\r\n--x\r\nContent-Range: bytes 9-20/40\r\n\r\n" + second + b"\r\n--x--"
    elements = b"data: <i>%b</i>\n\ndata: <i>%b</i>\n\n" % (first, second)
    binary = b"\x81\xa1d\xa9%b\x81\xa1d\xad%b" % (first, second)  # MessagePack
    array = b'{"tokens":["%b","%b"]}' % (first, second)
    for kind, body in (
        (b"application/x-ndjson", places),
        (b"multipart/byteranges; boundary=x", parts),
        (b"text/event-stream", elements),
        (b"application/vnd.msgpack", binary),
        (b"application/json", array),
    ):
        stream = redaction.filter_for(kind)
        assert stream is not None
        assert run(stream, [body]) == body
