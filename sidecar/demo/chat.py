"""The chat that the page talks to: JSON, a stream of words, or a socket."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiohttp import WSMessage, WSMsgType, web

from sidecar.demo.authorization import is_authorized
from sidecar.demo.stand_in_model import answer
from sidecar.demo.streams import MEDIA_TYPE, event_stream, spoken

LARGEST_FRAME: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to one message; `message` is what arrived, which is not always what was typed."""

    sessionId: str  # noqa: N815 - the wire's own spelling
    message: str
    reply: str
    authorized: bool


class NotAMessage(ValueError):
    """The body is not what this endpoint takes."""


async def post(request: web.Request) -> web.StreamResponse:
    """Answer `{"sessionId": …, "message": …}`: JSON, or events for a client that accepts them."""
    try:
        reply = _reply(await request.text(), is_authorized(request))
    except NotAMessage as error:
        return web.json_response({"error": str(error), "code": "NOT_A_MESSAGE"}, status=400)
    if MEDIA_TYPE not in request.headers.get("Accept", ""):
        return web.json_response(asdict(reply))
    return await _stream(request, reply)


async def _stream(request: web.Request, reply: Reply) -> web.StreamResponse:
    start = {"sessionId": reply.sessionId, "message": reply.message, "authorized": reply.authorized}
    async with event_stream(request) as stream:
        await stream.send(start, event="start")
        async for word in spoken(request, reply.reply):
            await stream.send({"text": word}, event="word")
        await stream.send({"reply": reply.reply}, event="done")
    return stream.response


async def socket(request: web.Request) -> web.WebSocketResponse:
    """Speak the chat over a WebSocket; any other text, and all bytes, come back as they were sent."""
    ws = web.WebSocketResponse(max_msg_size=LARGEST_FRAME, heartbeat=30, protocols=("chat",))
    await ws.prepare(request)
    try:
        async for frame in ws:
            await _answer_frame(request, ws, frame)
    except ConnectionResetError:
        pass  # the client left in the middle of an answer
    return ws


async def _answer_frame(request: web.Request, ws: web.WebSocketResponse, frame: WSMessage) -> None:
    if frame.type is WSMsgType.BINARY:
        await ws.send_bytes(frame.data)
        return
    if frame.type is not WSMsgType.TEXT:
        return
    try:
        reply = _reply(frame.data, authorized=is_authorized(request))
    except NotAMessage:
        await ws.send_str(frame.data)
        return
    await ws.send_json({"type": "start", "sessionId": reply.sessionId, "message": reply.message})
    async for word in spoken(request, reply.reply):
        await ws.send_json({"type": "word", "text": word})
    await ws.send_json({"type": "done", "reply": reply.reply})


def _reply(body: str, authorized: bool) -> Reply:
    try:
        asked: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAMessage("the body is not JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("message"), str):
        raise NotAMessage('"message" must be a string')
    session = asked.get("sessionId", "")
    message = asked["message"]
    return Reply(session if isinstance(session, str) else "", message, answer(message), authorized)
