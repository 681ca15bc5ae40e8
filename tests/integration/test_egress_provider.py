"""The egress listener before a provider that a test plays in raw bytes: base paths, sockets, silence, ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Backend, answer
from tests.support.egress import Outbound, outbound
from tests.support.language_model import LanguageModel
from tests.support.raw import Closed, Raw, get, post

KEY = "sk-raw-0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outbound, Backend, str]]:
    folder: Path = tmp_path_factory.mktemp("raw")
    backend = Backend()
    spoken = {
        "url": f"{backend.url}/base",
        "allow": ["/v1/chat/completions", "/v1/realtime"],
    }
    hasty = {**spoken, "timeouts": {"first_byte": "200ms"}}
    providers = {"openai": spoken, "groq": {**spoken, "name": "second"}, "mistral": hasty}
    try:
        with outbound(folder, LanguageModel(0, folder, set()), egress={"providers": providers}) as out:
            host = f"127.0.0.1:{backend.port}"
            out.add_key("raw", KEY, host)
            yield out, backend, out.handle("raw")[0]
    finally:
        backend.close()


@pytest.fixture
def out(_stage: tuple[Outbound, Backend, str]) -> Outbound:
    return _stage[0]


@pytest.fixture
def provider(_stage: tuple[Outbound, Backend, str]) -> Iterator[Backend]:
    _stage[1].forget()
    yield _stage[1]
    _stage[1].forget()


@pytest.fixture
def handle(_stage: tuple[Outbound, Backend, str]) -> str:
    return _stage[2]


@pytest.fixture
def call(handle: str) -> bytes:
    """A chat request with a good handle."""
    return post("/openai/v1/chat/completions", b"{}", f"Authorization: Bearer {handle}")


def test_a_base_path_stands_before_the_callers_path(out: Outbound, provider: Backend, call: bytes):
    with out.connect() as client:
        client.send(call)
        peer = provider.accept()
        seen = peer.request()
        assert seen.target == b"/base/v1/chat/completions"
        assert seen.get(b"authorization") == b"Bearer " + KEY.encode()
        peer.send(answer(b"{}", content_type="application/json"))
        assert client.response().status == 200


def handshake(authorization: str) -> bytes:
    return get(
        "/openai/v1/realtime?model=gpt-realtime",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: realtime",
        "Origin: https://app.example",
        f"Authorization: {authorization}",
    )


def test_a_realtime_socket_has_the_key_in_its_handshake(out: Outbound, provider: Backend, handle: str):
    with out.connect() as client:
        client.send(handshake(f"Bearer {handle}"))
        peer = provider.accept()
        seen = peer.request()
        assert seen.target == b"/base/v1/realtime?model=gpt-realtime"
        assert seen.get(b"authorization") == b"Bearer " + KEY.encode()
        assert seen.get(b"sec-websocket-protocol") == b"realtime"
        assert seen.get(b"origin") is None
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: realtime\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        assert client.head().status == 101
        client.send(b"\x81\x82\x00\x00\x00\x00hi")
        assert peer.exactly(2)[0] == 0x81
        peer.send(b"\x81\x05hello")
        assert client.exactly(7) == b"\x81\x05hello"


def test_a_socket_without_a_handle_is_refused(out: Outbound, provider: Backend):
    with out.connect() as client:
        assert client.send(handshake(f"Bearer {KEY}")).response().status == 401
    assert provider.untouched()


def refusal(client: Raw) -> tuple[int, str]:
    reply = client.response()
    return reply.status, json.loads(reply.body)["error"]["code"]


def test_a_silent_provider_is_a_timeout(out: Outbound, provider: Backend):
    out.add_key("raw", "M" * 32, f"127.0.0.1:{provider.port}", provider="mistral")
    token = out.handle("raw", "mistral")[0]
    with out.connect() as client:
        client.send(post("/mistral/v1/chat/completions", b"{}", f"Authorization: Bearer {token}"))
        provider.accept().request()
        assert refusal(client) == (504, "BACKEND_TIMEOUT")


def test_a_provider_that_closes_is_a_bad_gateway(out: Outbound, provider: Backend, call: bytes):
    with out.connect() as client:
        client.send(call)
        peer = provider.accept()
        peer.request()
        peer.close()
        assert refusal(client) == (502, "BACKEND_BROKEN")


def test_a_failure_keeps_its_status_and_loses_its_words(out: Outbound, provider: Backend, call: bytes):
    with out.connect() as client:
        client.send(call)
        peer = provider.accept()
        peer.request()
        peer.send(answer(b"overloaded, key " + KEY.encode(), "Retry-After: 7", status="529 Overloaded"))
        reply = client.response()
        assert (reply.status, reply.get(b"retry-after")) == (529, b"7")
        assert KEY.encode() not in reply.body


def test_a_stream_that_breaks_ends_as_broken(out: Outbound, provider: Backend, call: bytes):
    with out.connect() as client:
        client.send(call)
        peer = provider.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.send(b'f\r\ndata: {"a":1}\n\n\r\n')
        assert client.head().status == 200
        assert client.chunk() == b'data: {"a":1}\n\n'
        peer.break_off()
        with pytest.raises(Closed):
            client.chunk()


def test_a_caller_that_leaves_ends_the_providers_work(out: Outbound, provider: Backend, call: bytes):
    with out.connect() as client:
        client.send(call)
        peer = provider.accept()
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.head()
    assert peer.ended()


def test_a_provider_may_name_the_credential(out: Outbound, provider: Backend):
    host = f"127.0.0.1:{provider.port}"
    for name, key in (("first", "gsk_" + "A" * 40), ("second", "gsk_" + "B" * 40), ("third", "gsk_" + "C" * 40)):
        out.add_key("raw", key, host, provider="groq", name=name)
    token = out.handle("raw", "groq")[0]
    with out.connect() as client:
        client.send(post("/groq/v1/chat/completions", b"{}", f"Authorization: Bearer {token}"))
        peer = provider.accept()
        assert peer.request().get(b"authorization") == b"Bearer gsk_" + b"B" * 40
        peer.send(answer(b"{}"))
        assert client.response().status == 200
