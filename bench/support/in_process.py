"""The guarded chat request of the benchmark, served in this process without sockets: its calls are counted, or timed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from bench.support.chat import ANSWER, CREDENTIAL, KEY, POLICY, address_of, chat_request
from sidecar.app import Sidecar
from sidecar.policy.policy import BackendTarget
from sidecar.proxy.backend_connection import BackendConnection
from sidecar.proxy.client_connection import ClientConnection
from sidecar.proxy.codec.response_heads import ResponseHeadReader
from sidecar.proxy.listener import Listener
from sidecar.proxy.upstream import Upstream
from sidecar.secret import Secret
from sidecar.session import Session, key_of
from sidecar.settings import read_settings
from sidecar.vault.models import Actor

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 07:53:06 GMT\r\nContent-Type: application/json"
    b"\r\nContent-Length: %d\r\nConnection: keep-alive\r\nX-Powered-By: Chat\r\n\r\n%b" % (len(ANSWER), ANSWER.encode())
)


class _Transport(asyncio.Transport):
    """Keeps what is written; `sock` is the socket that a connection may ask about."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "socket": sock})
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing is open."""

    close = pause_reading = resume_reading = abort


def _backend(loop: asyncio.AbstractEventLoop, far: socket.socket) -> tuple[Upstream, BackendConnection, _Transport]:
    """Return a pool of one idle connection, whose socket stays silent."""
    upstream = Upstream(BackendTarget("127.0.0.1", 9, None, "", b"chat", False, 1.0, 60.0, 60.0, 1), loop)
    connection, transport = BackendConnection(loop, ResponseHeadReader()), _Transport(far)
    connection.connection_made(transport)
    upstream.release(connection, clean=True)
    return upstream, connection, transport


@contextlib.asynccontextmanager
async def guarded(folder: Path, clients: int) -> AsyncIterator[Callable[..., bytes]]:
    """Give a function that serves the n-th request with a response and returns what the client gets."""

    async def keep_key(vault: Any) -> None:
        await vault.credentials.create(Actor("bench"), "default", "openai", Secret(KEY))

    environ = {"ENCRYPTION_KEY": "0123456789abcdef" * 3, "DATABASE_URL": f"sqlite:///{folder / 'vault.db'}"}
    policy = POLICY.format(port=0, management=0, backend=9, folder=folder) + CREDENTIAL
    sidecar = Sidecar(read_settings(environ), policy, environ, prepare=keep_key)
    running = await sidecar.start()
    try:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        upstream, backend, to_backend = _backend(loop, far)
        listener: Listener = running.public
        listener.services = dataclasses.replace(listener.services, upstream=lambda _: upstream)
        now = time.time()
        requests = []
        for number in range(clients):
            address, session_id = address_of(number), f"00000000-0000-4000-8000-{number:012x}"
            network = f"{address.rpartition('.')[0]}.0/24"
            session = Session(key_of(session_id), "default", now, now, network, address)
            await running.stores.sessions.create(session, b"", 86400.0)
            requests.append(chat_request(number, session_id))
        connection = ClientConnection(loop, listener)
        front = _Transport()
        connection.connection_made(front)

        def serve(number: int, response: bytes = RESPONSE) -> bytes:
            front.written = to_backend.written = b""
            connection.data_received(requests[number % clients])
            backend.data_received(response)
            return front.written

        # The first request reads the key from the database; the others find it open.
        connection.data_received(requests[0])
        while not to_backend.written:  # noqa: ASYNC110  it is written by a plain call
            await asyncio.sleep(0.01)
        backend.data_received(RESPONSE)
        yield serve
        connection.connection_lost(None)
        backend.connection_lost(None)
        near.close()
        far.close()
    finally:
        await running.stop()


def calls_of(work: Callable[[], object]) -> Counter[str]:
    """Return how often each Python function is called while `work` runs."""
    counts: Counter[str] = Counter()

    def count(frame: Any, event: str, _: object) -> None:
        if event == "call":
            code = frame.f_code
            counts[f"{'/'.join(code.co_filename.split('/')[-3:])}:{code.co_qualname}"] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counts
