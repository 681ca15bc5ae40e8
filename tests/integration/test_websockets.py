"""WebSockets through the sidecar, frame by frame, in raw bytes."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import time
from pathlib import Path

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import Message, Raw, get
from tests.support.refused import check_refusal
from tests.support.sidecar import ORIGIN, Running, sidecar

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
PAGE = f"Origin: {ORIGIN}"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"


def accept_key(key: bytes) -> str:
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def switching(request: Message, *lines: str) -> bytes:
    """Return the answer that accepts an upgrade."""
    key = accept_key(request.get(b"sec-websocket-key") or b"")
    head = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {key}",
    ]
    return "\r\n".join([*head, *lines, "", ""]).encode()


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, mask: bytes = b"", rsv: int = 0) -> bytes:
    first = opcode | (0x80 if fin else 0) | rsv
    bit = 0x80 if mask else 0
    if len(data) < 126:
        head = bytes([first, bit | len(data)])
    elif len(data) < 65536:
        head = struct.pack("!BBH", first, bit | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, bit | 127, len(data))
    return head + mask + (bytes(b ^ mask[i % 4] for i, b in enumerate(data)) if mask else data)


def sent(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """Return a frame as clients send it."""
    return frame(opcode, data, fin=fin, mask=MASK)


def close(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def read(side: Raw, *, masked: bool) -> tuple[int, bytes, bool]:
    """Return (opcode, data, fin) of the next frame; only what goes to the backend is masked."""
    first, second = side.exactly(2)
    assert (second >= 0x80) is masked
    assert not first & 0x70
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(side.exactly(2), "big")
    elif size == 127:
        size = int.from_bytes(side.exactly(8), "big")
    mask = side.exactly(4) if masked else b"\0\0\0\0"
    if masked and size:
        assert mask != MASK  # a fresh one of the sidecar's own
    data = bytes(b ^ mask[i % 4] for i, b in enumerate(side.exactly(size)))
    return first & 0x0F, data, first >= 0x80


def at_client(side: Raw) -> tuple[int, bytes, bool]:
    return read(side, masked=False)


def at_backend(side: Raw) -> tuple[int, bytes, bool]:
    return read(side, masked=True)


@pytest.fixture
def pair(front: Running, backend: Backend):
    """A client and a backend with an open WebSocket between them."""
    with front.connect() as client:
        client.send(get("/ws", *HANDSHAKE, PAGE))
        peer = backend.accept()
        peer.send(switching(peer.request()))
        assert client.head().status == 101
        yield client, peer


THEIRS = b"sk_live_" + b"a1b2c3d4e5f6g7h8i9"


def test_keys_do_not_pass_in_any_kind_of_frame(pair: tuple[Raw, Raw]) -> None:
    client, peer = pair
    peer.send(frame(PING, THEIRS))
    assert at_client(client) == (PING, b"[redacted]", True)
    peer.send(frame(PONG, b"<" + THEIRS + b">"))
    assert at_client(client) == (PONG, b"", True), "it answers no ping of the client"
    peer.send(frame(TEXT, b"see " + THEIRS[:12]) + frame(BINARY, THEIRS[12:] + b" \xff"))
    assert at_client(client) == (TEXT, b"see [redacted]", True)
    assert at_client(client) == (BINARY, b" \xff", True)
    peer.send(frame(BINARY, THEIRS[:10]) + frame(BINARY, THEIRS[10:] + b" \xff"))
    assert at_client(client) == (BINARY, b"[redacted]", True)
    assert at_client(client) == (BINARY, b" \xff", True)
    peer.send(frame(CLOSE, close(1011, THEIRS + b" expired")))
    assert at_client(client) == (CLOSE, close(1011, b"[redacted] expired"), True)


# --- the handshake ----------------------------------------------------------------------------------


def test_the_upgrade_is_relayed(front: Running, backend: Backend):
    with front.connect() as client:
        offer = "Sec-WebSocket-Protocol: realtime, chat.v2"
        client.send(get("/ws?a=%41", *HANDSHAKE, PAGE, offer, "Sec-WebSocket-Extensions: permessage-deflate"))
        peer = backend.accept()
        request = peer.request()
        assert request.start == b"GET /ws?a=%41 HTTP/1.1"
        assert request.get(b"upgrade") == b"websocket"
        assert request.get(b"connection") == b"Upgrade"
        assert request.get(b"sec-websocket-protocol") == b"realtime, chat.v2"
        assert request.get(b"sec-websocket-extensions") is None  # what is compressed cannot be looked at
        assert request.get(b"x-forwarded-for") == b"127.0.0.1"
        peer.send(switching(request, "Sec-WebSocket-Protocol: chat.v2", "X-App: 1", "Server: ws/1"))
        reply = client.head()
        assert reply.status == 101
        assert reply.get(b"sec-websocket-accept") == accept_key(KEY.encode()).encode()
        assert reply.get(b"sec-websocket-protocol") == b"chat.v2"
        assert reply.get(b"x-app") == b"1"
        assert reply.get(b"server") is None
        assert reply.get(b"access-control-allow-origin") == ORIGIN.encode()


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Origin: https://evil.example"], id="another"),
        pytest.param(["Origin: null"], id="null"),
        pytest.param(["Origin: https://evil.example", "Sec-Fetch-Site: same-origin"], id="lying-about-the-site"),
        pytest.param([f"Origin: {ORIGIN}.evil.example"], id="longer"),
    ],
)
def test_a_refused_origin_never_reaches_the_backend(front: Running, backend: Backend, lines: list[str]):
    with front.connect() as client:
        client.send(get("/ws", *HANDSHAKE, *lines))
        check_refusal(client.response(), 403, "CORS_BLOCKED", origin=False)
    assert backend.untouched()


def test_a_page_of_the_same_host_may_connect(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/ws", *HANDSHAKE, "Origin: http://chat.example"))
        peer = backend.accept()
        peer.send(switching(peer.request()))
        assert client.head().status == 101


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(get("/ws", *HANDSHAKE[:3], PAGE), id="no-version"),
        pytest.param(get("/ws", *HANDSHAKE[:2], HANDSHAKE[3], PAGE), id="no-key"),
        pytest.param(get("/ws", *HANDSHAKE[:2], "Sec-WebSocket-Key: c2hvcnQ=", HANDSHAKE[3], PAGE), id="short-key"),
        pytest.param(get("/ws", HANDSHAKE[0], *HANDSHAKE[2:], PAGE), id="connection-does-not-name-it"),
        pytest.param(get("/ws", *HANDSHAKE, PAGE, method="POST"), id="post"),
        pytest.param(get("/ws", *HANDSHAKE, PAGE, "Content-Length: 4") + b"body", id="with-a-body"),
        pytest.param(get("/ws", *HANDSHAKE, PAGE) + sent(TEXT, b"early"), id="with-early-frames"),
        pytest.param(get("/ws", *HANDSHAKE, PAGE).replace(b"1.1", b"1.0"), id="http-1.0"),
    ],
)  # fmt: skip
def test_a_wrong_handshake_is_refused_here(front: Running, backend: Backend, raw: bytes):
    with front.connect() as client:
        client.send(raw)
        check_refusal(client.response(), 400, "REQUEST_MALFORMED")
        assert client.ended()
    assert backend.untouched(0.02)


def test_a_refused_upgrade_is_relayed(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/ws", *HANDSHAKE, PAGE))
        peer = backend.accept()
        peer.request()
        peer.send(answer(b"log in first", status="401 Unauthorized"))
        reply = client.response()
        assert reply.status == 401
        assert reply.body == b"log in first"
        assert peer.ended()


@pytest.mark.parametrize(
    "fault", ["wrong-accept", "protocol-not-offered", "extension", "garbage", "closes", "not-websocket"]
)
def test_a_wrong_answer_to_the_upgrade_is_a_502(front: Running, backend: Backend, fault: str):
    with front.connect() as client:
        client.send(get("/ws", *HANDSHAKE, PAGE))
        peer = backend.accept()
        good = switching(peer.request())
        replies = {
            "wrong-accept": good.replace(b"Accept: ", b"Accept: x"),
            "protocol-not-offered": good[:-2] + b"Sec-WebSocket-Protocol: other\r\n\r\n",
            "extension": good[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            "garbage": b"hello\r\n\r\n",
            "closes": b"",
            "not-websocket": good.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        }
        peer.send(replies[fault])
        peer.close()
        check_refusal(client.response(), 502, "BACKEND_BROKEN")


def test_an_upgrade_that_was_not_requested_is_a_502(front: Running, backend: Backend):
    with front.connect() as client:
        client.send(get("/ws", PAGE))
        peer = backend.accept()
        peer.request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        check_refusal(client.response(), 502, "BACKEND_BROKEN")


# --- frames -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_go_both_ways(pair: tuple[Raw, Raw], opcode: int, size: int):
    client, peer = pair
    data = b"a" * size
    client.send(sent(opcode, data))
    assert at_backend(peer) == (opcode, data, True)
    peer.send(frame(opcode, data))
    assert at_client(client) == (opcode, data, True)


def test_fragments_pass_one_by_one_with_a_ping_between(pair: tuple[Raw, Raw]):
    client, peer = pair
    for piece, opcode, fin in ((b"one ", TEXT, False), (b"?", PING, True), (b"two ", 0, False), (b"three", 0, True)):
        client.send(sent(opcode, piece, fin=fin))
        assert at_backend(peer) == (opcode, piece, fin)
    # A message of the backend is looked at whole; what keeps the connection alive does not wait for its end.
    peer.send(frame(BINARY, b"\xe2\x82", fin=False), frame(PONG, b"!"), frame(0, b"\xac"))
    assert at_client(client) == (PONG, b"", True)
    assert at_client(client) == (BINARY, b"\xe2\x82\xac", True)


def test_pings_and_pongs_pass(pair: tuple[Raw, Raw]):
    client, peer = pair
    client.send(sent(PING, b"are you there"))
    assert at_backend(peer) == (PING, b"are you there", True)
    peer.send(frame(PONG, b"are you there"))
    assert at_client(client) == (PONG, b"are you there", True)


def test_a_frame_that_comes_byte_by_byte(pair: tuple[Raw, Raw]):
    client, peer = pair
    for byte in sent(TEXT, b"slow"):
        client.send(bytes([byte]))
    assert at_backend(peer) == (TEXT, b"slow", True)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_the_clients_close_code_reaches_the_backend_and_is_answered(pair: tuple[Raw, Raw], code: int):
    client, peer = pair
    client.send(sent(CLOSE, close(code, "weg ü".encode())))
    assert at_backend(peer) == (CLOSE, close(code, "weg ü".encode()), True)
    peer.send(frame(CLOSE, close(code)))
    assert at_client(client) == (CLOSE, close(code), True)
    assert client.ended(5)
    assert peer.ended(5)


def test_the_backends_close_code_reaches_the_client(pair: tuple[Raw, Raw]):
    client, peer = pair
    peer.send(frame(CLOSE, close(4001, b"session over")))
    assert at_client(client) == (CLOSE, close(4001, b"session over"), True)
    client.send(sent(CLOSE, close(4001)))
    assert at_backend(peer) == (CLOSE, close(4001), True)
    assert client.ended(5)


def test_a_close_without_a_code(pair: tuple[Raw, Raw]):
    client, peer = pair
    client.send(sent(CLOSE))
    assert at_backend(peer) == (CLOSE, b"", True)


# --- what breaks the protocol -----------------------------------------------------------------------

BROKEN = {
    "too-big": (frame(BINARY, mask=MASK)[:1] + struct.pack("!BQ", 0xFF, 70_000) + MASK, 1009),
    "too-big-in-fragments": (sent(BINARY, b"x" * 40_000, fin=False) + sent(0, b"x" * 40_000), 1009),
    "not-masked": (frame(TEXT, b"hi"), 1002),
    "invalid-utf-8": (sent(TEXT, b"\xff\xfe"), 1007),
    "surrogate": (sent(TEXT, b"\xed\xa0\x80"), 1007),
    "half-a-character-at-the-end": (sent(TEXT, b"\xe2\x82"), 1007),
    "invalid-utf-8-in-a-fragment": (sent(TEXT, b"ok", fin=False) + sent(0, b"\xc0\xaf"), 1007),
    "reserved-bit": (frame(TEXT, b"hi", mask=MASK, rsv=0x40), 1002),
    "unknown-opcode": (sent(3, b"hi"), 1002),
    "unknown-control": (sent(11), 1002),
    "long-ping": (sent(PING, b"x" * 126), 1002),
    "fragmented-ping": (sent(PING, b"x", fin=False), 1002),
    "continuation-of-nothing": (sent(0, b"x"), 1002),
    "text-inside-a-message": (sent(TEXT, b"a", fin=False) + sent(TEXT, b"b"), 1002),
    "close-with-one-byte": (sent(CLOSE, b"\x03"), 1002),
    "close-1005": (sent(CLOSE, close(1005)), 1002),
    "close-999": (sent(CLOSE, close(999)), 1002),
    "close-reason-not-utf-8": (sent(CLOSE, close(1000, b"\xff")), 1007),
}


@pytest.mark.parametrize(("raw", "code"), BROKEN.values(), ids=BROKEN)
def test_a_client_that_breaks_the_protocol(pair: tuple[Raw, Raw], raw: bytes, code: int):
    client, peer = pair
    client.send(raw)
    opcode, data, _ = at_client(client)
    assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, code)
    assert client.ended(5)
    while (got := at_backend(peer))[0] != CLOSE:
        assert got[0] in (TEXT, BINARY)
    assert int.from_bytes(got[1][:2], "big") == 1001  # the backend learns that its client is gone
    assert peer.ended(5)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(sent(TEXT, b"masked"), 1002, id="masked"),
        pytest.param(frame(TEXT, b"\xff"), 1007, id="invalid-utf-8"),
        pytest.param(frame(BINARY, b"x" * 70_000), 1009, id="too-big"),
    ],
)
def test_a_backend_that_breaks_the_protocol(pair: tuple[Raw, Raw], raw: bytes, code: int):
    client, peer = pair
    peer.send(raw)
    opcode, data, _ = at_client(client)
    assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, code)
    assert client.ended(5)


# --- who leaves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_is_told_to_the_backend(pair: tuple[Raw, Raw], how: str):
    client, peer = pair
    began = time.monotonic()
    if how == "reset":
        client.break_off()
    else:
        client.close()
    assert at_backend(peer)[0] == CLOSE
    assert peer.ended()
    assert time.monotonic() - began < 1


def test_a_backend_that_leaves_is_told_to_the_client(pair: tuple[Raw, Raw]):
    client, peer = pair
    peer.close()
    opcode, data, _ = at_client(client)
    assert (opcode, int.from_bytes(data[:2], "big")) in ((CLOSE, 1001), (CLOSE, 1011))
    assert client.ended(5)


def test_a_socket_is_counted_while_it_is_open(front: Running, pair: tuple[Raw, Raw]):
    client, peer = pair
    client.send(sent(TEXT, os.urandom(4).hex().encode()))
    at_backend(peer)
    assert front.metric("sidecar_active_streams", kind="websocket") == 1


def test_what_a_client_pings_comes_back_as_it_was_whatever_it_begins(pair: tuple[Raw, Raw]) -> None:
    """Or each ping would say whether it is the beginning of a stored key: every backend answers pings."""
    client, peer = pair
    guesses = [THEIRS[:size] for size in range(1, 16)] + [THEIRS]
    for guess in guesses:
        client.send(sent(PING, guess))
        assert at_backend(peer) == (PING, guess, True)
        peer.send(frame(PONG, guess))
        assert at_client(client) == (PONG, guess, True)
    for number in range(70):
        client.send(sent(PING, b"ping %d" % number))
        at_backend(peer)
    for payload in (THEIRS[:12], b"anything else"):  # forgotten by now: nothing is said about it
        peer.send(frame(PONG, payload))
        assert at_client(client) == (PONG, b"", True)
    client.send(sent(CLOSE, close(1000, THEIRS[:16])))
    assert at_backend(peer) == (CLOSE, close(1000, THEIRS[:16]), True)
    peer.send(frame(CLOSE, close(1000, THEIRS[:16])))
    assert at_client(client) == (CLOSE, close(1000, THEIRS[:16]), True)


@pytest.mark.parametrize("leaves", ["closes", "vanishes"])
def test_a_key_in_a_message_that_waits_is_reported_when_the_client_leaves(tmp_path: Path, leaves: str) -> None:
    with Backend() as backend, sidecar(tmp_path, backend.url) as front:
        with front.connect() as client:
            client.send(get("/ws", *HANDSHAKE, PAGE))
            peer = backend.accept()
            peer.send(switching(peer.request()))
            assert client.head().status == 101
            peer.send(frame(TEXT, b"see " + THEIRS))
            assert client.silent()
            if leaves == "closes":
                client.send(frame(CLOSE, close(1000), mask=MASK))
        assert front.logged(event="SECRET_REDACTED")["detail"] == {"stripe": 1}
