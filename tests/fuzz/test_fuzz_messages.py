"""Longer searches than the everyday tests make; `FUZZ_EXAMPLES=100000 pytest tests/fuzz` digs deeper."""

from __future__ import annotations

import json
import os
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.decision import Keep, Refuse, Rewrite
from sidecar.errors import Problems
from sidecar.messages.message_guard import build_message_guard
from sidecar.messages.protocols.catalogue import BY_NAME
from sidecar.messages.protocols.definition import Framing
from sidecar.messages.sanitize import NONE, Markup, sanitize
from sidecar.messages.sockets.results import KeepMessage, RefuseMessage, RewriteMessage
from sidecar.messages.websocket_messages import frame_guard
from tests.messages.test_sanitize import MEAN, PIECES, assert_harmless
from tests.support.exchanges import exchange

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
DIG = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


def guard(protocol, markup="escape"):
    built = build_message_guard(
        protocol=protocol, fields=[], max_chars=50, markup=markup, on_uninspectable="refuse", problems=Problems()
    )
    assert built is not None
    return built


GUARDS = [guard(protocol, markup) for protocol in BY_NAME for markup in Markup]
FRAMES = [frame_guard(one) for one in GUARDS]
TYPES = st.sampled_from(
    [
        "application/json",
        "application/json; charset=utf-8",
        "multipart/form-data; boundary=b",
        "application/x-www-form-urlencoded",
        "text/plain",
    ]
) | st.text(st.characters(max_codepoint=255), max_size=20)
ENCODINGS = st.sampled_from(["", "identity", "gzip", "br"])
KEYS = st.sampled_from(
    [
        "message",
        "messages",
        "content",
        "text",
        "role",
        "input",
        "system",
        "type",
        "params",
        "data",
        "parts",
        "arguments",
        "jsonrpc",
        "method",
        "id",
        "title",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.sampled_from(["user", "text"]) | PIECES
SHAPES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)
BODIES = (
    SHAPES.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=80)
    | PIECES.map(
        lambda text: b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\n' + text.encode() + b"\r\n--b--\r\n"
    )
    | PIECES.map(lambda text: b"message=" + text.encode())
)


@DIG
@given(MEAN | PIECES, st.sampled_from([Markup.ESCAPE, Markup.STRIP]))
def test_sanitized_text_is_harmless(text, mode):
    assert_harmless(text, mode)


@DIG
@given(st.sampled_from(GUARDS), BODIES, TYPES, ENCODINGS)
def test_no_body_raises_and_what_passes_is_settled(one, body, content_type, encoding):
    fields = {"content_type": content_type} | ({"content_encoding": encoding} if encoding else {})
    asked = exchange("POST", "/api/chat", **fields)
    result = one.inspect(asked, body)
    assert isinstance(result, Keep | Rewrite | Refuse)
    if isinstance(result, Rewrite):
        again = one.inspect(exchange("POST", "/api/chat", content_type=content_type), result.body)
        # What was made longer than the limit may be refused; what passes is not changed again.
        assert not isinstance(again, Rewrite)


@DIG
@given(
    st.sampled_from(FRAMES),
    st.sampled_from(["", "42", "42/x,7", "451-", "43", "40", "4"]),
    SHAPES.map(json.dumps) | PIECES,
)
def test_no_frame_raises(one, prefix, text):
    socket = one.begin("/ws", "req", lambda: 0.0)
    result = socket.text(prefix + text)
    assert isinstance(result, KeepMessage | RewriteMessage | RefuseMessage)
    if isinstance(result, RewriteMessage) and one.rules.protocol.framing is not Framing.BOKEH:
        (changed,) = result.messages
        again = one.begin("/ws", "req", lambda: 0.0).text(changed.data.decode())
        assert not isinstance(again, RewriteMessage)


@DIG
@given(st.sampled_from(FRAMES), st.binary(max_size=200))
def test_no_binary_message_raises(one, data):
    socket = one.begin("/ws", "req", lambda: 0.0)
    assert isinstance(socket.binary(data), KeepMessage | RewriteMessage | RefuseMessage)


@DIG
@given(
    st.lists(
        st.sampled_from(
            ["<", "<a", '="', "='", ">", "](", "\u200d", "👩", "&#", "%25", "```\n", "\n", "<!--", "<style>"]
        ),
        min_size=1,
        max_size=5,
    )
)
def test_time_is_linear(units):
    unit = "".join(units)
    text = (unit * (2**16 // len(unit) + 1))[: 2**16]
    for mode in (Markup.ESCAPE, Markup.STRIP):
        began = time.process_time()
        once, _ = sanitize(text, mode)
        assert time.process_time() - began < 2
        assert sanitize(once, mode) == (once, NONE)
