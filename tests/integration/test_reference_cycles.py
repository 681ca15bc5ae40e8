"""What an exchange leaves for the garbage collector: nothing, or memory would grow until it runs."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from pathlib import Path

import pytest

from bench.support.in_process import RESPONSE, guarded
from sidecar.exchange import Exchange
from sidecar.proxy.body_framing import chunk

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word %d"}}]}\n\n'
STREAM = HEAD % b"text/event-stream" + b"".join(chunk(EVENT % number) for number in range(20)) + b"0\r\n\r\n"
TEXT = HEAD % b"text/plain" + chunk(b"some words") + b"0\r\n\r\n"


@pytest.mark.parametrize("response", [RESPONSE, STREAM, TEXT], ids=["json", "events", "text"])
async def test_an_exchange_leaves_nothing(tmp_path: Path, response: bytes) -> None:
    async with guarded(tmp_path, 4) as serve:
        for number in range(8):
            serve(number, response)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(8):
                assert serve(number, response).startswith(b"HTTP/1.1 200 ")
            gc.collect()
            left = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not [name for name in left if name.startswith("sidecar.")], left


async def test_what_fails_at_the_end_of_an_exchange_keeps_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("odd")

    async with guarded(tmp_path, 4) as serve:
        serve(0, TEXT.removesuffix(b"0\r\n\r\n"))
        (open_one,) = [each for each in gc.get_objects() if isinstance(each, Exchange) and each.releases]
        open_one.releases.insert(0, fail)
        assert serve(1, b"0\r\n\r\n").endswith(b"0\r\n\r\n"), "it ends"
        await asyncio.sleep(0.01)  # the next one on the connection begins
        assert serve(2, RESPONSE).startswith(b"HTTP/1.1 200 ")
    assert open_one.releases == []
    assert f"fault at the end of {open_one.id}" in caplog.text
