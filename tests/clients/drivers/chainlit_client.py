"""Chainlit's socket.io messages, over a WebSocket and over long polling."""

import asyncio
import uuid

import socketio
from speech import URL, run

AUTH = {"clientType": "webapp", "userEnv": "{}"}


class Closed(Exception):
    """The server ended the connection."""


class Refused(Exception):
    """The conversation shows an error."""


async def talk(text, transport):
    client = socketio.AsyncClient(reconnection=False)
    heard = asyncio.Queue()
    client.on("stream_start", lambda data: heard.put_nowait(("token", data["output"])))
    client.on("stream_token", lambda data: heard.put_nowait(("token", data["token"])))
    client.on("new_message", lambda data: heard.put_nowait(("error", data["output"])) if data.get("isError") else None)
    client.on("task_end", lambda *_: heard.put_nowait(("end", "")))
    client.on("disconnect", lambda reason: heard.put_nowait(("closed", reason)))
    ready = asyncio.Event()
    client.on("clear_call_fn", lambda *_: ready.set())
    auth = AUTH | {"sessionId": str(uuid.uuid4())}
    await client.connect(URL, socketio_path="/ws/socket.io", transports=[transport], auth=auth, wait_timeout=20)
    try:
        await client.emit("connection_successful")
        await asyncio.wait_for(ready.wait(), 20)
        while not heard.empty():
            heard.get_nowait()
        step = {"id": str(uuid.uuid4()), "name": "user", "type": "user_message", "output": text}
        step |= {"createdAt": "2026-01-01T00:00:00Z", "metadata": {}}
        await client.emit("client_message", {"message": step, "fileReferences": []})
        pieces = []
        while True:
            kind, value = await asyncio.wait_for(heard.get(), 2)
            if kind == "closed":
                raise Closed(value)
            if kind == "error":
                raise Refused(value)
            if kind == "end":
                return pieces
            pieces.append(value)
    finally:
        # An orderly goodbye waits for the poll that is under way.
        await client.eio.disconnect(abort=True)


run(lambda text: talk(text, "websocket"), lambda text: talk(text, "polling"))
