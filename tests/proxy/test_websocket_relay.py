"""What is done to the text messages of a WebSocket: the content filter on their way in, redaction on their way out."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.proxy.codec.websocket_frames import Frame
from sidecar.proxy.websocket_relay import _Whole
from tests.integration.test_websockets import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PAGE,
    PING,
    TEXT,
    at_backend,
    at_client,
    close,
    frame,
    sent,
    switching,
)
from tests.support.backends import Backend
from tests.support.raw import Raw, get
from tests.support.sidecar import Running, threaded

KEY = b"sk-proj-" + b"a1B2c3D4e5" * 5
CHAT = {"message": {"fields": ["$.message"]}, "protocol": "plain"}
RATE = 40
ROUTES = [
    {"name": "plain", "match": {"path": "/plain"}, "redaction": {"known_secrets": False, "patterns": []}, **CHAT},
    {"name": "chat", "match": {"path": "/chat"}, **CHAT},
    {"name": "trial", "match": {"path": "/trial"}, "observe": ["content_filter", "redaction"], **CHAT},
    {"name": "open", "match": {"path": "/open"}, "redaction": {"known_secrets": False, "patterns": []}},
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Backend]]:
    backend = Backend()
    with contextlib.closing(backend):
        filters = {"patterns": [{"name": "password", "pattern": "my password is"}]}
        folder: Path = tmp_path_factory.mktemp("sockets")
        redaction = {"patterns": ["openai"]}
        with threaded(
            folder,
            backend.url,
            routes=ROUTES,
            content_filter=filters,
            redaction=redaction,
            websocket={"messages_per_minute": RATE},
        ) as running:
            yield running, backend


@pytest.fixture
def front(stage: tuple[Running, Backend]) -> Running:
    return stage[0]


@contextlib.contextmanager
def sockets(stage: tuple[Running, Backend], path: str) -> Iterator[tuple[Raw, Raw]]:
    front, backend = stage
    with front.connect() as client:
        client.send(get(path, *HANDSHAKE, PAGE))
        peer = backend.accept()
        peer.send(switching(peer.request()))
        assert client.head().status == 101
        yield client, peer
    backend.forget()


@pytest.fixture
def pair(stage: tuple[Running, Backend]) -> Iterator[tuple[Raw, Raw]]:
    with sockets(stage, "/chat") as pair:
        yield pair


@pytest.fixture
def trial(stage: tuple[Running, Backend]) -> Iterator[tuple[Raw, Raw]]:
    with sockets(stage, "/trial") as pair:
        yield pair


@pytest.fixture
def unfiltered(stage: tuple[Running, Backend]) -> Iterator[tuple[Raw, Raw]]:
    with sockets(stage, "/open") as pair:
        yield pair


def said(text: bytes) -> bytes:
    return b'{"message": "' + text + b'"}'


def token(text: bytes) -> bytes:
    return b'{"type":"delta","delta":"' + text + b'"}'


# --- in ---------------------------------------------------------------------------------------------


def test_a_message_that_matches_the_content_filter_is_refused_and_the_socket_stays_open(
    front: Running, pair: tuple[Raw, Raw]
):
    client, peer = pair
    client.send(sent(TEXT, said(b"hello")))
    assert at_backend(peer)[1] == said(b"hello")
    client.send(sent(TEXT, b'{"message": "by the way, my pass'.ljust(32), fin=False), sent(0, b'word is x"}'))
    opcode, data, _ = at_client(client)
    assert (opcode, json.loads(data)["code"]) == (TEXT, "CONTENT_BLOCKED")
    client.send(sent(TEXT, said(b"again")))
    assert at_backend(peer)[1] == said(b"again")
    line = front.logged(event="CONTENT_BLOCKED", route="chat")
    assert (line["outcome"], line["detail"]) == ("refused", {"pattern": "password"})
    assert "by the way" not in json.dumps(front.lines())


def test_a_message_that_is_too_big_is_refused_and_the_socket_stays_open(front: Running, pair: tuple[Raw, Raw]):
    client, peer = pair
    big = said(b"x" * 1_500_000)
    client.send(sent(TEXT, big), sent(TEXT, big[:1_000_000], fin=False), sent(0, big[1_000_000:]))
    for _ in range(2):
        opcode, data, _ = at_client(client)
        assert (opcode, json.loads(data)["code"]) == (TEXT, "MESSAGE_TOO_LONG")
        line = front.logged(event="MESSAGE_TOO_LONG", route="chat")
        assert (line["outcome"], line["detail"]) == ("refused", {"bytes": len(big)})
    client.send(sent(TEXT, said(b"again")))
    assert at_backend(peer)[1] == said(b"again")


@pytest.mark.parametrize(
    ("path", "size"), [("/chat", 17 << 20), ("/open", 2 << 20)], ids=["inspected", "not inspected"]
)
def test_beyond_its_bound_a_message_ends_the_socket(stage: tuple[Running, Backend], path: str, size: int):
    with sockets(stage, path) as (client, _):
        client.send(bytes((0x81, 0xFF)) + size.to_bytes(8, "big") + b"mask")
        opcode, data, _ = at_client(client)
        assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, 1009)
        line = stage[0].logged(event="MESSAGE_TOO_LONG", detail={"limit": "websocket.max_message"}, route=path[1:])
        assert line["outcome"] == "refused"


def test_a_close_reason_is_a_text_that_no_inspector_reads(pair: tuple[Raw, Raw]):
    client, peer = pair
    client.send(sent(PING, b"<4 bytes"), sent(CLOSE, b"\x03\xe8<img src=x onerror=alert(1)>"))
    assert at_backend(peer)[:2] == (PING, b"<4 bytes")
    assert at_backend(peer)[:2] == (CLOSE, b"\x03\xe8")


def test_an_observed_content_filter_lets_messages_pass(trial: tuple[Raw, Raw]):
    client, peer = trial
    client.send(sent(TEXT, said(b"my password is <b>")))
    assert at_backend(peer)[1] == said(b"my password is &lt;b>")


# --- out --------------------------------------------------------------------------------------------


def test_a_message_without_a_secret_passes_byte_for_byte(pair: tuple[Raw, Raw]):
    client, peer = pair
    for text in (b'{ "a" : 1.0, "text": "h\\u00e9llo." }', b"", "not JSON, 😀.".encode(), b"[1]"):
        peer.send(frame(TEXT, text))
        assert at_client(client) == (TEXT, text, True)


def test_a_key_in_one_message_is_redacted(front: Running, pair: tuple[Raw, Raw]):
    client, peer = pair
    peer.send(frame(TEXT, b'{"error":"wrong key ' + KEY + b'."}'))
    assert at_client(client)[1] == b'{"error":"wrong key [redacted]."}'
    assert front.logged(event="SECRET_REDACTED", route="chat")["outcome"] == "changed"


def test_a_key_that_is_said_token_by_token_is_redacted(pair: tuple[Raw, Raw]):
    client, peer = pair
    for piece in (b"it is ", KEY[:4], KEY[4:20], KEY[20:], b" there."):
        peer.send(frame(TEXT, token(piece)))
    got = b""
    while b"there" not in got:
        got += json.loads(at_client(client)[1])["delta"].encode()
    assert got == b"it is [redacted] there."


def test_fragments_are_put_together_to_be_looked_at(pair: tuple[Raw, Raw]):
    client, peer = pair
    whole = b'{"error":"\xe2\x82\xac ' + KEY + b'!"}'
    peer.send(frame(TEXT, whole[:12], fin=False), frame(PING, b"?"), frame(0, whole[12:40], fin=False))
    assert at_client(client) == (PING, b"?", True)
    peer.send(frame(0, whole[40:]))
    assert at_client(client) == (TEXT, b'{"error":"\xe2\x82\xac [redacted]!"}', True)


def test_empty_fragments_hold_nothing():
    texts = _Whole()
    assert texts.whole(Frame(TEXT, b"a", fin=False)) is None
    tracemalloc.start()
    for _ in range(100_000):
        assert texts.whole(Frame(0, b"", fin=False)) is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000
    assert texts.whole(Frame(0, b"b")) == Frame(TEXT, b"ab")


def test_a_message_whose_end_may_begin_a_key_waits_a_moment_only(pair: tuple[Raw, Raw]):
    client, peer = pair
    began = time.monotonic()
    peer.send(frame(TEXT, token(b"it begins with sk-")))
    assert at_client(client)[1] == token(b"it begins with sk-")
    assert 0.5 < time.monotonic() - began < 10
    peer.send(frame(TEXT, token(b"and goes on.")))
    assert at_client(client)[1] == token(b"and goes on.")


@pytest.mark.parametrize("after", [frame(BINARY, b"\x01"), frame(CLOSE, close(1000))], ids=["binary", "close"])
def test_nothing_overtakes_a_message_that_waits(pair: tuple[Raw, Raw], after: bytes):
    client, peer = pair
    peer.send(frame(TEXT, token(b"sk-")) + frame(PING) + after)
    assert at_client(client)[0] == PING
    assert at_client(client)[1] == token(b"sk-")
    assert at_client(client)[0] in (BINARY, CLOSE)


def test_a_backend_that_leaves_has_its_last_word_heard(pair: tuple[Raw, Raw]):
    client, peer = pair
    peer.send(frame(TEXT, token(b"sk-")))
    peer.close()
    assert at_client(client)[1] == token(b"sk-")
    assert at_client(client)[0] == CLOSE


def test_observed_redaction_reports_and_lets_pass(front: Running, trial: tuple[Raw, Raw]):
    client, peer = trial
    peer.send(frame(TEXT, token(KEY)))
    assert at_client(client)[1] == token(KEY)
    assert front.logged(event="SECRET_REDACTED", route="trial")["outcome"] == "observed"


def test_where_nothing_is_looked_for_fragments_pass_as_they_come(unfiltered: tuple[Raw, Raw]):
    client, peer = unfiltered
    peer.send(frame(TEXT, b"\xe2\x82", fin=False))
    assert at_client(client) == (TEXT, b"\xe2\x82", False)
    peer.send(frame(0, b"\xac" + KEY))
    assert at_client(client) == (0, b"\xac" + KEY, True)


def test_the_other_direction_passes_secrets(pair: tuple[Raw, Raw]):
    client, peer = pair
    client.send(sent(TEXT, said(KEY)))
    assert at_backend(peer)[1] == said(KEY)


@pytest.mark.parametrize("cut", [0, 5])
def test_json_in_a_binary_message_is_looked_at(pair: tuple[Raw, Raw], cut: int):
    client, peer = pair
    data = json.dumps({"message": "<script>"}).encode()
    if cut:
        client.send(sent(BINARY, data[:cut], fin=False), sent(0, data[cut:]))
    else:
        client.send(sent(BINARY, data))
    assert at_backend(peer) == (BINARY, data.replace(b"<", b"&lt;"), True)


def test_a_binary_message_that_is_no_json_is_refused(front: Running, pair: tuple[Raw, Raw]):
    client, peer = pair
    client.send(sent(BINARY, b"RIFF\x00<script>"), sent(TEXT, said(b"hi")))
    assert b"MESSAGE_INVALID" in at_client(client)[1]
    assert at_backend(peer)[1] == said(b"hi")
    assert front.logged(event="MESSAGE_UNREADABLE", route="chat")["detail"] == {"reason": "binary"}


def test_a_refusal_waits_for_the_end_of_a_message(stage: tuple[Running, Backend]):
    with sockets(stage, "/plain") as (client, peer):
        peer.send(frame(TEXT, b"one ", fin=False))
        assert at_client(client) == (TEXT, b"one ", False)
        client.send(sent(TEXT, b"{"), sent(TEXT, said(b"hi")))
        assert at_backend(peer)[1] == said(b"hi")
        peer.send(frame(0, b"two"))
        assert at_client(client) == (0, b"two", True)
        assert b"MESSAGE_INVALID" in at_client(client)[1]


def test_messages_beyond_the_bound_are_answered_and_then_end_the_socket(front: Running, stage: tuple[Running, Backend]):
    with sockets(stage, "/plain") as (client, peer):
        for _ in range(RATE):
            client.send(sent(TEXT, said(b"hi")))
            assert at_backend(peer)[1] == said(b"hi")
        client.send(sent(TEXT, said(b"over")) * (RATE + 2))
        for _ in range(RATE):
            assert b"RATE_LIMIT_EXCEEDED" in at_client(client)[1]
        assert at_client(client)[0] == CLOSE
        assert at_backend(peer)[0] == CLOSE
    line = front.logged(event="RATE_LIMIT_EXCEEDED", route="plain")
    assert line["detail"] == {"limit": "websocket.messages_per_minute"}


@pytest.mark.parametrize("cut", [0, 20])
def test_a_key_in_a_binary_message_is_taken_out(pair: tuple[Raw, Raw], cut: int):
    client, peer = pair
    data = b"\x00\x01" + KEY + b"\xff"
    if cut:
        peer.send(frame(BINARY, data[:cut], fin=False), frame(0, data[cut:]))
    else:
        peer.send(frame(BINARY, data))
    assert at_client(client) == (BINARY, b"\x00\x01[redacted]\xff", True)


def test_a_line_whose_name_holds_a_key_is_dropped(stage: tuple[Running, Backend]):
    front, backend = stage
    with front.connect() as client:
        client.send(get("/other"))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + KEY + b": 1\r\nX-Other: 2\r\nContent-Length: 0\r\n\r\n")
        reply = client.response()
        assert KEY not in reply.names()
        assert reply.get(b"x-other") == b"2"
    backend.forget()
