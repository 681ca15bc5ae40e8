"""Providers as their clients know them, and two real servers: ChatKit's SDK and MCP's. Each says back what it heard.

Started with a port; no word of a sidecar stands here.
"""

from __future__ import annotations

import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import uvicorn
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError, Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    Page,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
)
from mcp.server.fastmcp import FastMCP
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


def pieces(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def event(value: Any, name: str = "") -> str:
    line = f"data: {json.dumps(value)}\n\n"
    return f"event: {name}\n{line}" if name else line


def stream(events: list[str]) -> Response:
    async def each() -> AsyncIterator[str]:
        for one in events:
            yield one

    return StreamingResponse(each(), media_type="text/event-stream")


# --- OpenAI ----------------------------------------------------------------------------------------


async def openai_chat(request: Request) -> Response:
    body = await request.json()
    said = f"You said: {body['messages'][-1]['content']}"
    base = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        return JSONResponse({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
    chunks = [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in pieces(said)]
    chunks.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    head = {**base, "object": "chat.completion.chunk"}
    return stream([*(event({**head, "choices": [chunk]}) for chunk in chunks), "data: [DONE]\n\n"])


async def openai_responses(request: Request) -> Response:
    body = await request.json()
    said = f"You said: {body['input']}"
    item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": said, "annotations": []}]
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "output": [item]}
    whole |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "status": "completed"}
    if not body.get("stream"):
        return JSONResponse(whole)
    place = {"item_id": "m1", "output_index": 0, "content_index": 0}
    events = [{"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []} for piece in pieces(said)]
    events.append({"type": "response.completed", "response": whole})
    return stream([event({**one, "sequence_number": at}, str(one["type"])) for at, one in enumerate(events)])


# --- Anthropic -------------------------------------------------------------------------------------


async def anthropic_messages(request: Request) -> Response:
    body = await request.json()
    said = f"You said: {body['messages'][-1]['content']}"
    base = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    base |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 2}}
    if not body.get("stream"):
        return JSONResponse({**base, "content": [{"type": "text", "text": said}]})
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**base, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces(said)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return stream([event(one, one["type"]) for one in events])


# --- LangGraph -------------------------------------------------------------------------------------


async def langgraph_thread(_: Request) -> Response:
    now = datetime.now(UTC).isoformat()
    thread = {"thread_id": str(uuid.uuid4()), "created_at": now, "updated_at": now, "metadata": {}, "status": "idle"}
    return JSONResponse(thread | {"values": None})


async def langgraph_run(request: Request) -> Response:
    messages = (await request.json())["input"]["messages"]
    said = f"You said: {messages[-1]['content']}"
    answer = {"type": "ai", "id": "a1", "content": said}
    if request.url.path.endswith("/wait"):
        return JSONResponse({"messages": [*messages, answer]})
    parts = [{"type": "AIMessageChunk", "id": "a1", "content": piece} for piece in pieces(said)]
    events = [("metadata", {"run_id": str(uuid.uuid4())}), *(("messages", [part, {}]) for part in parts)]
    lines = [f"event: {name}\ndata: {json.dumps(value)}\nid: {at}\n\n" for at, (name, value) in enumerate(events)]
    return stream([*lines, ": heartbeat\n\n"])


# --- ChatKit: the SDK's own server -----------------------------------------------------------------


class Memory(Store[None]):
    def __init__(self) -> None:
        self.threads: dict[str, Any] = {}
        self.items: dict[str, dict[str, Any]] = {}

    async def load_thread(self, thread_id: str, context: None) -> Any:
        if thread_id not in self.threads:
            raise NotFoundError(thread_id)
        return self.threads[thread_id].model_copy()

    async def save_thread(self, thread: Any, context: None) -> None:
        self.threads[thread.id] = thread.model_copy()
        self.items.setdefault(thread.id, {})

    async def load_threads(self, limit: int, after: str | None, order: str, context: None) -> Any:
        return Page(data=list(self.threads.values()))

    async def load_thread_items(self, thread_id: str, after: str | None, limit: int, order: str, context: None) -> Any:
        return Page(data=list(self.items[thread_id].values()))

    async def add_thread_item(self, thread_id: str, item: Any, context: None) -> None:
        self.items[thread_id][item.id] = item

    save_item = add_thread_item

    async def load_item(self, thread_id: str, item_id: str, context: None) -> Any:
        return self.items[thread_id][item_id]

    async def delete_thread(self, thread_id: str, context: None) -> None:
        self.threads.pop(thread_id, None)

    async def delete_thread_item(self, thread_id: str, item_id: str, context: None) -> None:
        self.items[thread_id].pop(item_id, None)

    async def save_attachment(self, attachment: Any, context: None) -> None:
        raise NotFoundError

    async def load_attachment(self, attachment_id: str, context: None) -> Any:
        raise NotFoundError

    async def delete_attachment(self, attachment_id: str, context: None) -> None:
        raise NotFoundError


class Echo(ChatKitServer[None]):
    async def respond(self, thread: Any, input_user_message: Any, context: None) -> AsyncIterator[Any]:
        said = f"You said: {input_user_message.content[0].text}"
        name = self.store.generate_item_id("message", thread, context)
        head = {"id": name, "thread_id": thread.id, "created_at": datetime.now(UTC)}
        yield ThreadItemAddedEvent(item=AssistantMessageItem(**head, content=[AssistantMessageContent(text="")]))
        for piece in pieces(said):
            update = AssistantMessageContentPartTextDelta(content_index=0, delta=piece)
            yield ThreadItemUpdatedEvent(item_id=name, update=update)
        yield ThreadItemDoneEvent(item=AssistantMessageItem(**head, content=[AssistantMessageContent(text=said)]))


CHATKIT = Echo(Memory())


async def chatkit(request: Request) -> Response:
    result = await CHATKIT.process(await request.body(), None)
    if isinstance(result, StreamingResult):
        return StreamingResponse(result, media_type="text/event-stream")
    return Response(result.json, media_type="application/json")


# --- MCP: the SDK's own server ---------------------------------------------------------------------

mcp = FastMCP("echo", log_level="CRITICAL", streamable_http_path="/mcp")


@mcp.tool()
def echo(text: str) -> str:
    """Say it back."""
    return f"You said: {text}"


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with mcp.session_manager.run():
        yield


APP = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/v1/chat/completions", openai_chat, methods=["POST"]),
        Route("/api/chat/completions", openai_chat, methods=["POST"]),
        Route("/v1/responses", openai_responses, methods=["POST"]),
        Route("/v1/messages", anthropic_messages, methods=["POST"]),
        Route("/threads", langgraph_thread, methods=["POST"]),
        Route("/threads/{thread}/runs/stream", langgraph_run, methods=["POST"]),
        Route("/threads/{thread}/runs/wait", langgraph_run, methods=["POST"]),
        Route("/chatkit", chatkit, methods=["POST"]),
        *mcp.streamable_http_app().routes,
    ],
)

if __name__ == "__main__":
    uvicorn.run(APP, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
