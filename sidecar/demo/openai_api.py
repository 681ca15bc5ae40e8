"""OpenAI's chat completions, as far as its clients look: key, models, plain answers and streams."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from sidecar.demo.authorization import bearer, is_authorized
from sidecar.demo.stand_in_model import NAME, answer, tokens
from sidecar.demo.streams import event_stream, spoken

# A date that never changes keeps the answers the same.
CREATED: Final = 1_767_225_600
MODEL: Final = {"id": NAME, "object": "model", "created": CREATED, "owned_by": "demo"}


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer, before it is written as JSON or as chunks."""

    id: str
    model: str
    text: str
    prompt_tokens: int
    streams: bool
    with_usage: bool

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of the prompt, the answer and both, as OpenAI reports them."""
        spoken_tokens = tokens(self.text)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": spoken_tokens,
            "total_tokens": self.prompt_tokens + spoken_tokens,
        }

    def whole(self) -> dict[str, Any]:
        """Return the `chat.completion` object of an answer that is not streamed."""
        message = {"role": "assistant", "content": self.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage}

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        """Return one `chat.completion.chunk` with its delta; `usage` is null until the last chunk."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self.with_usage else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **usage}

    def usage_chunk(self) -> dict[str, Any]:
        """Return the last chunk of a stream that was asked for its usage: no choices, only the tokens."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": CREATED, "model": self.model}


async def completions(request: web.Request) -> web.StreamResponse:
    """Answer `POST /v1/chat/completions`."""
    if not is_authorized(request):
        return _unauthorized(request)
    try:
        completion = _completion(await request.text())
    except ValueError as error:
        return _error(400, str(error), code=None)
    if not completion.streams:
        return web.json_response(completion.whole())
    async with event_stream(request) as stream:
        await stream.send(completion.chunk({"role": "assistant", "content": ""}))
        async for word in spoken(request, completion.text):
            await stream.send(completion.chunk({"content": word}))
        await stream.send(completion.chunk({}, finish_reason="stop"))
        if completion.with_usage:
            await stream.send(completion.usage_chunk())
        await stream.send("[DONE]")
    return stream.response


async def models(request: web.Request) -> web.Response:
    """Answer `GET /v1/models`."""
    if not is_authorized(request):
        return _unauthorized(request)
    return web.json_response({"object": "list", "data": [MODEL]})


async def model(request: web.Request) -> web.Response:
    """Answer `GET /v1/models/{id}`."""
    if not is_authorized(request):
        return _unauthorized(request)
    if request.match_info["id"] != NAME:
        return _error(404, "The model does not exist", code="model_not_found")
    return web.json_response(MODEL)


def _completion(body: str) -> Completion:
    try:
        asked: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("We could not parse the JSON body of your request.") from None
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if not isinstance(messages, list) or not messages:
        raise ValueError("Missing required parameter: 'messages'.")
    texts = [(m.get("role"), _text(m.get("content"))) for m in messages if isinstance(m, dict)]
    last = next((text for role, text in reversed(texts) if role == "user"), "")
    name = asked.get("model")
    options = asked.get("stream_options")
    return Completion(
        id=f"chatcmpl-{zlib.crc32(body.encode('utf-8', 'surrogatepass')):08x}",
        model=name if isinstance(name, str) else NAME,
        text=answer(last),
        prompt_tokens=sum(tokens(text) for _, text in texts),
        streams=asked.get("stream") is True,
        with_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _text(content: Any) -> str:
    """Return a message's text: a string, or its parts of type text joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return " ".join(part for part in parts if isinstance(part, str))


def _unauthorized(request: web.Request) -> web.Response:
    if bearer(request):
        return _error(401, "Incorrect API key provided.", code="invalid_api_key")
    return _error(401, "You didn't provide an API key.", code=None)


def _error(status: int, message: str, code: str | None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)
