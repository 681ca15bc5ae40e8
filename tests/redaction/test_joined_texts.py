"""Texts that come interleaved in one stream: each is read by itself, whatever the records before had in common."""

from __future__ import annotations

import pytest

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.matcher import SecretMatcher
from sidecar.secret import Secret

KEY = b"an-invented-key-0123456789"
SHAPES = {
    "anthropic": b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"text":"%b"}}\n\n',
    "openai": b'data: {"id":"c","choices":[{"index":%d,"delta":{"content":"%b"},"finish_reason":null}]}\n\n',
    "responses": b'data: {"type":"response.output_text.delta","output_index":%d,"content_index":0,"delta":"%b"}\n\n',
}
TURNS = {
    "one text first": [(0, b"one "), (0, b"two "), (0, b"three "), (0, KEY[:13]), (1, b"other"), (0, KEY[13:])],
    "both from the start": [(0, b"one "), (1, b"uno "), (0, b"two "), (1, KEY[:9]), (0, b"x"), (1, KEY[9:]), (0, b"y")],
    "the same words": [(0, b"a "), (0, b"a "), (1, b"a "), (0, KEY[:13]), (1, b"a "), (0, KEY[13:]), (1, b"a ")],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
def test_a_key_between_the_pieces_of_another_text_is_found(shape: bytes, turns: list[tuple[int, bytes]]) -> None:
    redaction = build_redaction(SecretMatcher([Secret(KEY.decode())]), [], Problems())
    found = redaction.filter_for(b"text/event-stream")
    assert found is not None
    out = b"".join(found.feed(shape % turn) for turn in turns) + found.finish()
    assert out.count(b"[redacted]") == 1
    assert not any(piece in out for piece in (KEY[:9], KEY[:13], KEY[9:], KEY[13:]))
