"""The load: what a browser sends to a chat, through wrk when it is installed; and readers of streams."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

ORIGIN = "https://app.example.com"
CONNECTIONS = 32
BODY = (
    '{"message":"Hello there, could you tell me something about the weather in Paris tomorrow morning please?",'
    '"sessionId":"abcdefghijklmnopqrstuv"}'
)
HEADERS = {
    "Content-Type": "application/json",
    "Origin": ORIGIN,
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    "Accept": "*/*",
    "Accept-Language": "en-US,en;q=0.9",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": f"{ORIGIN}/chat",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "sec-ch-ua": '"Chromium";v="156", "Not.A/Brand";v="8"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Cookie": "theme=dark; lang=en",
}


def request(path: str, port: int) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(BODY)}", "", BODY]).encode()


class Load:
    """Ask for `/api/chat` as fast as it is answered; `run` returns how many answers there were."""

    def __init__(self, folder: Path) -> None:
        self._wrk = shutil.which("wrk")
        self._script = folder / "post.lua"
        lines = ['wrk.method = "POST"', f"wrk.body = [[{BODY}]]"]
        lines += [f'wrk.headers["{name}"] = [[{value}]]' for name, value in HEADERS.items()]
        self._script.write_text("\n".join(lines))

    @property
    def name(self) -> str:
        return "wrk" if self._wrk else "the benchmark's own load (install wrk for a better one)"

    def run(self, port: int, seconds: int) -> int:
        return self._by_wrk(port, seconds) if self._wrk else asyncio.run(_hammer(port, seconds))

    def _by_wrk(self, port: int, seconds: int) -> int:
        url = f"http://127.0.0.1:{port}/api/chat"
        command = [str(self._wrk), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(self._script), url]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"not every request was answered:\n{said}")
        return int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]


class _Asker(asyncio.Protocol):
    """One connection: the next request goes out when an answer is whole. Answers have a Content-Length."""

    def __init__(self, question: bytes) -> None:
        self._question = question
        self._got = b""
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._question)  # type: ignore[attr-defined]

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
            self._transport.write(self._question)  # type: ignore[attr-defined]


async def _hammer(port: int, seconds: int) -> int:
    loop = asyncio.get_running_loop()
    question = request("/api/chat", port)
    made = [await loop.create_connection(lambda: _Asker(question), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return sum(asker.answers for _, asker in made)


async def read_streams(port: int, streams: int) -> int:
    """Open streams at once, read each to its end, return how many events came in all."""

    async def read() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/api/stream", port))
        events = 0
        async with asyncio.timeout(30):
            while line := await reader.readline():
                events += line.startswith(b"data: ")
                if line.startswith(b"data: [DONE]"):
                    break
        writer.close()
        return events

    return sum(await asyncio.gather(*(read() for _ in range(streams))))
