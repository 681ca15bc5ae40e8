"""The SDKs of large providers, in Python and Node, in a stream that is ended here: they report it as their error."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sidecar.clock import SystemClock
from tests.support.backends import Backend
from tests.support.clients import HERE, NODE_MODULES, PYTHON, need_clients
from tests.support.raw import PATIENCE
from tests.support.sidecar import Running, threaded
from tests.support.tools import need

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHAT = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
ANSWER = {"id": "resp_1", "object": "response", "model": "m", "output": [], "status": "in_progress"}
DELTA = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0}
USAGE = {"input_tokens": 1, "output_tokens": 1}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": USAGE}
EVENTS: dict[str, list[dict[str, Any]]] = {
    "openai": [{**CHAT, "choices": [{"index": 0, "delta": {"content": "hello"}}]}],
    "responses": [
        {"type": "response.created", "response": ANSWER, "sequence_number": 0},
        {**DELTA, "delta": "hello", "sequence_number": 1},
    ],
    "anthropic": [
        {"type": "message_start", "message": MESSAGE},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    ],
}


def event(value: dict[str, Any]) -> bytes:
    name = b"event: %b\n" % str(value["type"]).encode() if "type" in value else b""
    data = name + b"data: " + json.dumps(value).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def ban(running: Running) -> None:
    assert running.app is not None
    assert running.loop is not None
    banning = running.app.stores.bans.ban("127.0.0.1", SystemClock().now() + 60, "by hand")
    asyncio.run_coroutine_threadsafe(banning, running.loop).result(PATIENCE)


@pytest.mark.parametrize("sdk", ["openai", "responses", "anthropic"])
@pytest.mark.parametrize("runtime", ["python", "node"])
def test_the_sdk_reports_an_ended_stream_as_its_own_error(tmp_path: Path, runtime: str, sdk: str):
    need_clients(PYTHON, NODE_MODULES, NODE_MODULES / ("@anthropic-ai" if sdk == "anthropic" else "openai"))
    command = (
        [str(PYTHON), str(HERE / "drivers/streams.py")]
        if runtime == "python"
        else [need("node"), str(HERE / "node/streams.mjs")]
    )
    with Backend() as backend, threaded(tmp_path, backend.url, clients={"ban": {"strikes": 20}}) as running:
        url = f"http://127.0.0.1:{running.public}"
        with subprocess.Popen([*command, sdk, url], stdout=subprocess.PIPE, text=True) as client:
            peer = backend.accept()
            peer.request()
            peer.send(HEAD, *map(event, EVENTS[sdk]))
            assert client.stdout is not None
            assert client.stdout.readline() == "begun\n"
            ban(running)
            said = json.loads(client.stdout.read().splitlines()[-1])
            assert peer.ended(1.0)
        assert said["came"] == ["hello"]
        assert said["error"] in {"APIError", "APIStatusError", "PermissionDeniedError"}
        assert "Access has been revoked" in said["says"]
        running.logged(event="STREAM_REVOKED", outcome="refused")
