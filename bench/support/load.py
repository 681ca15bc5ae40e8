"""The load: what a browser sends to a chat, through wrk when it is installed; and readers of streams."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

from bench.support.chat import ANSWER, CLIENTS, chat_request, session_request

CONNECTIONS = 32
SCRIPT = """
local file, all = io.open("{requests}", "rb"), {{}}
local length = file:read("*n")
while length do
  file:read(1); all[#all + 1] = file:read(length); length = file:read("*n")
end
file:close()
math.randomseed(os.time())
local at = math.random(#all)
request = function() at = at % #all + 1; return all[at] end
"""
"""wrk sends the clients' requests in turn, from any of them on; the file says the length of each before it."""


def begin_sessions(port: int, clients: int = CLIENTS) -> list[str]:
    """Begin a session for each client through the sidecar; return their ids."""
    sessions = []
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        for client in range(clients):
            sock.sendall(session_request(client))
            got = b""
            while not (found := re.search(rb'"sessionId":\s*"([^"]+)"', got)):
                data = sock.recv(65536)
                if not data:
                    raise SystemExit(f"no session was begun:\n{got.decode('latin-1')}")
                got += data
            sessions.append(found[1].decode())
    return sessions


class Load:
    """Send the clients' chat messages as fast as they are answered; `run` returns how many answers there were."""

    def __init__(self, folder: Path) -> None:
        self._wrk = shutil.which("wrk")
        self._folder = folder
        self._requests: list[bytes] = []

    @property
    def name(self) -> str:
        return "wrk" if self._wrk else "the benchmark's own load (install wrk for a better one)"

    def use(self, sessions: list[str]) -> None:
        """Send these sessions' messages from now on."""
        self.send([chat_request(client, session_id) for client, session_id in enumerate(sessions)])

    def send(self, requests: list[bytes]) -> None:
        """Send these requests in turn from now on."""
        self._requests = requests
        file = self._folder / "requests.bin"
        file.write_bytes(b"".join(b"%d\n%b" % (len(each), each) for each in requests))
        (self._folder / "post.lua").write_text(SCRIPT.format(requests=file))

    def run(self, port: int, seconds: int, connections: int = CONNECTIONS) -> int:
        if self._wrk:
            return self._by_wrk(port, seconds, connections)
        return asyncio.run(_hammer(self._requests, port, seconds, connections))

    def _by_wrk(self, port: int, seconds: int, connections: int) -> int:
        url, script = f"http://127.0.0.1:{port}/api/chat", str(self._folder / "post.lua")
        command = [str(self._wrk), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"not every request was answered:\n{said}")
        return int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]


class _Asker(asyncio.Protocol):
    """One connection: the next request goes out when an answer is whole. Answers have a Content-Length."""

    def __init__(self, questions: list[bytes], at: int) -> None:
        self._questions = cycle(questions[at:] + questions[:at])
        self._got = b""
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(next(self._questions))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not every request was answered:\n{head.decode('latin-1')}")
        if len(body) >= int(re.search(rb"(?i)content-length: (\d+)", head)[1]):  # type: ignore[index]
            self._got = b""
            self.answers += 1
            self._transport.write(next(self._questions))  # type: ignore[attr-defined]


async def _hammer(questions: list[bytes], port: int, seconds: int, connections: int) -> int:
    loop = asyncio.get_running_loop()
    step = len(questions) // connections
    made = [
        await loop.create_connection(lambda at=number * step: _Asker(questions, at), "127.0.0.1", port)  # type: ignore[misc]
        for number in range(connections)
    ]
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return sum(asker.answers for _, asker in made)


async def read_streams(port: int, sessions: list[str], streams: int) -> int:
    """Open streams at once, read each to its end, return how many events came in all."""

    async def read(client: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chat_request(client, sessions[client], accept="text/event-stream"))
        events = 0
        async with asyncio.timeout(30):
            while line := await reader.readline():
                events += line.startswith(b"data: ")
                if line.startswith(b"data: [DONE]"):
                    break
        writer.close()
        return events

    return sum(await asyncio.gather(*(read(client) for client in range(streams))))


def round_trips(port: int, sessions: list[str], count: int = 500) -> float:
    """Return the milliseconds that a chat message takes on one connection, the median of `count`."""
    took = []
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for client in range(count):
            began = time.perf_counter()
            sock.sendall(chat_request(client, sessions[client]))
            got = b""
            while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < len(ANSWER):
                got += sock.recv(65536)
            took.append(time.perf_counter() - began)
    return sorted(took)[count // 2] * 1000


@contextmanager
def hold_streams(port: int, sessions: list[str]) -> Iterator[None]:
    """Open a stream for each session, read its head, and hold it while the block runs."""
    with ExitStack() as held:
        for client, session_id in enumerate(sessions):
            sock = held.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            sock.sendall(chat_request(client, session_id, accept="text/event-stream; hold"))
            got = b""
            while b"data: " not in got:
                data = sock.recv(65536)
                if not data:
                    raise SystemExit(f"a stream was not opened:\n{got.decode('latin-1')}")
                got += data
        yield
