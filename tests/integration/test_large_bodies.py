"""Bodies of a GiB go through either way, and the process stays as small as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from tests.support.backends import Backend, answer
from tests.support.raw import Raw, get
from tests.support.sidecar import Running, sidecar

SIZE = 1024 * 1024 * 1024
LOOKED_AT = int(os.environ.get("LOOKED_AT", "0")) or SIZE // 16
"""What is searched for secrets passes more slowly: its size, in bytes, may be raised by this variable."""
PIECE = b"\0" * (256 * 1024)
GROWTH = 24 * 1024 * 1024
"""Bytes that the process may grow by: buffers of the loop, never a part of the body."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Backend]]:
    folder = tmp_path_factory.mktemp("large")
    with Backend() as backend, sidecar(folder, backend.url, requests={"max_body": "4GiB"}) as running:
        with running.connect() as client:  # what the first request loads is not growth
            client.send(get("/"))
            peer = backend.accept()
            peer.request()
            peer.send(answer())
            client.response()
        yield running, backend


@pytest.fixture(autouse=True)
def _fresh(stage: tuple[Running, Backend]) -> None:
    stage[1].forget()


def pour(side: Raw, size: int, chunked: bool) -> None:
    """Send so many bytes of nothing."""
    piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    for _ in range(size // len(PIECE)):
        side.send(piece)
    if chunked:
        side.send(b"0\r\n\r\n")


def swallow(side: Raw, size: int) -> int:
    """Read and forget at least `size` bytes."""
    got = len(side.take(len(side.buffer)))
    while got < size and side.more():
        got += len(side.take(len(side.buffer)))
    return got


def passing(source: Raw, sink: Raw, running: Running, size: int, *, chunked: bool) -> int:
    """Let a body flow from one end to the other; return the largest size of the process meanwhile."""
    pouring = threading.Thread(target=pour, args=(source, size, chunked))
    pouring.start()
    got, largest = 0, 0
    while got < size:
        got += swallow(sink, min(size // 32, size - got))
        largest = max(largest, running.resident())
    pouring.join()
    return largest


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upload(stage: tuple[Running, Backend], chunked: bool):
    running, backend = stage
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    before = running.resident()
    with running.connect() as client:
        client.send(get("/upload", framing, method="PUT"))
        peer = backend.accept()
        peer.head()
        largest = passing(client, peer, running, SIZE, chunked=chunked)
        peer.send(answer(b"all of it", "Connection: close"))
        assert client.response().body == b"all of it"
    assert largest - before < GROWTH


@pytest.mark.parametrize(
    ("kind", "size", "chunked"),
    [
        pytest.param("image/png", SIZE, False, id="picture-length"),
        pytest.param("image/png", SIZE, True, id="picture-chunked"),
        pytest.param("text/event-stream", LOOKED_AT, True, id="event-without-end"),
        pytest.param("text/plain", LOOKED_AT, False, id="text-length"),
        pytest.param("application/json", LOOKED_AT, True, id="json-chunked"),
    ],
)
def test_a_download(stage: tuple[Running, Backend], kind: str, size: int, chunked: bool):
    running, backend = stage
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    before = running.resident()
    with running.connect() as client:
        client.send(get("/download"))
        peer = backend.accept()
        peer.request()
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode())
        client.head()
        largest = passing(peer, client, running, size, chunked=chunked)
    assert largest - before < GROWTH
