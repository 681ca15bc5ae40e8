"""The SDKs of large providers, in Python and Node, and curl: what they repeat, and what they go on with."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support.backends import Serving, answer
from tests.support.clients import HERE, NODE_MODULES, PYTHON, need_clients
from tests.support.raw import Message
from tests.support.sidecar import threaded
from tests.support.tools import need

CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
OPENAI = json.dumps(
    {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE]}
).encode()
USAGE = {"input_tokens": 1, "output_tokens": 1}
TEXT = [{"type": "text", "text": "hello"}]
ANTHROPIC = json.dumps(
    {
        "id": "m-1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": TEXT,
        "stop_reason": "end_turn",
        "usage": USAGE,
    }
).encode()
SDKS = [(runtime, sdk) for runtime in ("python", "node") for sdk in ("openai", "anthropic")]


def completion(request: Message) -> bytes:
    return answer(ANTHROPIC if b"messages" in request.target else OPENAI, content_type="application/json")


def ask(runtime: str, sdk: str, port: int) -> dict[str, object]:
    need_clients(PYTHON, NODE_MODULES, NODE_MODULES / sdk if sdk == "openai" else NODE_MODULES / "@anthropic-ai")
    command = (
        [str(PYTHON), str(HERE / "drivers/retries.py")]
        if runtime == "python"
        else [need("node"), str(HERE / "node/retries.mjs")]
    )
    done = subprocess.run(
        [*command, sdk, f"http://127.0.0.1:{port}"], capture_output=True, text=True, timeout=90, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("runtime", "sdk"), SDKS)
def test_a_completion_that_takes_too_long_is_asked_for_once(tmp_path: Path, runtime: str, sdk: str):
    gate = threading.Event()

    def slow(request: Message) -> bytes:
        gate.wait(60)
        return completion(request)

    with (
        Serving(slow) as backend,
        threaded(tmp_path, backend.url, backend={"timeouts": {"first_byte": "300ms"}}) as running,
    ):
        try:
            said = ask(runtime, sdk, running.public)
        finally:
            gate.set()
        assert said["status"] == 504
        assert len(backend.seen) == 1


@pytest.mark.parametrize(("runtime", "sdk"), SDKS)
def test_a_provider_that_says_when_to_come_again_is_heard(tmp_path: Path, runtime: str, sdk: str):
    def busy_once(request: Message) -> bytes:
        if len(backend.seen) == 1:
            return answer(b"busy", "retry-after-ms: 900", "request-id: req_1", status="503 Service Unavailable")
        return completion(request)

    with Serving(busy_once) as backend, threaded(tmp_path, backend.url) as running:
        began = time.monotonic()
        assert "id" in ask(runtime, sdk, running.public)
        assert time.monotonic() - began >= 0.9
        assert len(backend.seen) == 2


@pytest.mark.parametrize(("runtime", "sdk"), SDKS)
def test_a_provider_that_says_not_to_come_again_is_heard(tmp_path: Path, runtime: str, sdk: str):
    busy = answer(b"busy", "x-should-retry: false", status="503 Service Unavailable")
    with Serving(lambda _: busy) as backend, threaded(tmp_path, backend.url) as running:
        assert ask(runtime, sdk, running.public)["status"] == 503
        assert len(backend.seen) == 1


def test_curl_goes_on_with_a_download(tmp_path: Path):
    whole = bytes(range(256)) * 4096
    (tmp_path / "sound").write_bytes(whole[:100_000])

    def part(request: Message) -> bytes:
        first = int((request.get(b"range") or b"bytes=0-")[6:].partition(b"-")[0])
        lines = [f"Content-Range: bytes {first}-{len(whole) - 1}/{len(whole)}", "Accept-Ranges: bytes"]
        return answer(whole[first:], *lines, status="206 Partial Content", content_type="audio/mpeg")

    with Serving(part) as backend, threaded(tmp_path, backend.url) as running:
        url = f"http://127.0.0.1:{running.public}/sound"
        subprocess.run(
            [need("curl"), "-sS", "-f", "-C", "-", "-o", str(tmp_path / "sound"), url], check=True, timeout=30
        )
        assert (backend.seen[-1].get(b"range")) == b"bytes=100000-"
    assert (tmp_path / "sound").read_bytes() == whole
