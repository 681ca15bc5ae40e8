"""A model stand-in behind OpenAI's chat API: it repeats the last message of the user, streamed or whole.

`[[` in it comes back as `<`: an answer with markup that nobody typed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web


def _said(asked: dict[str, Any]) -> str:
    content = [turn["content"] for turn in asked["messages"] if turn["role"] == "user"][-1]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return f"You said: {text}".replace("[[", "<")


async def _complete(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    said, common = _said(asked), {"id": "chatcmpl-1", "created": 1, "model": "parrot"}
    if not asked.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        return web.json_response({**common, "object": "chat.completion", "choices": [choice]})
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    ends: list[tuple[dict[str, str], str | None]] = [({}, "stop")]
    step = max(4, len(said) // 25)
    for delta, end in [({"content": said[at : at + step]}, None) for at in range(0, len(said), step)] + ends:
        chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        await asyncio.sleep(0.02)
        await answer.write(f"data: {json.dumps({**common, **chunk})}\n\n".encode())
    await answer.write(b"data: [DONE]\n\n")
    return answer


async def _embed(request: web.Request) -> web.Response:
    texts = (await request.json())["input"]
    count = len(texts) if isinstance(texts, list) else 1
    rows = [{"object": "embedding", "index": at, "embedding": [0.1] * 8} for at in range(count)]
    return web.json_response({"object": "list", "model": "parrot", "data": rows})


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "parrot", "object": "model", "owned_by": "tests"}]})


@contextlib.asynccontextmanager
async def parrot(port: int = 0) -> AsyncIterator[str]:
    """Serve while the block runs; yields the base URL that clients call with `/chat/completions`."""
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", _complete), web.get("/v1/models", _models)])
    app.add_routes([web.post("/v1/embeddings", _embed)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
