"""A backend that streams as a chat model does: `python sse_backend.py PORT`. Prints a line when it listens."""

from __future__ import annotations

import asyncio
import json
import sys

EVENTS = 200
PAUSE = 0.005
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"


def event(number: int) -> bytes:
    """Return one delta of a streamed answer, about 150 bytes."""
    delta = {"index": 0, "delta": {"content": f" word{number:03}"}, "finish_reason": None}
    chunk = {
        "id": "chatcmpl-Abc123Def456",
        "object": "chat.completion.chunk",
        "created": 1795000000,
        "choices": [delta],
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD)
    if b"event-stream; hold" in head:
        writer.write(event(0))
        await reader.read()  # until the reader has left
        writer.close()
        return
    for number in range(EVENTS - 1):
        writer.write(event(number))
        await asyncio.sleep(PAUSE)
    writer.write(b"data: [DONE]\n\n")
    await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(stream, "127.0.0.1", int(sys.argv[1]), backlog=512)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
