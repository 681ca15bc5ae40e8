"""The systems without the sidecar, where markup runs; and two of them behind one sidecar."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.backends.conftest import Start
from tests.backends.front import TOO_LONG, events, front
from tests.backends.systems import DESK, GRADIO, PANEL
from tests.backends.visit import visiting
from tests.support.raw import post

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_markup_runs_in_an_unguarded_page(browser: Browser, start: Start):
    assert PANEL.page is not None
    async with visiting(browser, PANEL.page, await start(PANEL)) as visit:
        await visit.open()
        await visit.ask("hello")
        assert await visit.effects() == []
        await visit.send("<img src=x onerror=\"window.__xss='ran'\">")
        for _ in range(150):
            if "ran" in await visit.effects():
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("the payload did not run, or was not seen to")


async def test_a_file_that_a_page_shows_as_a_message_is_harmless(browser: Browser, start: Start, tmp_path: Path):
    assert PANEL.page is not None
    file = tmp_path / "note.html"
    file.write_text("<img src=x onerror=\"window.__xss='ran'\"> to finish")
    with front(tmp_path, await start(PANEL), "panel") as running:
        async with visiting(browser, PANEL.page, f"http://127.0.0.1:{running.public}") as visit:
            await visit.open()
            await visit.upload(file)
            await visit.hear("src=x onerror")
            assert await visit.effects() == []


async def test_a_picture_is_a_file_and_no_long_text(browser: Browser, start: Start, tmp_path: Path):
    assert PANEL.page is not None
    file = tmp_path / "note.bin"
    file.write_bytes(bytes(range(256)) * 8)
    with front(tmp_path, await start(PANEL), "panel") as running:
        async with visiting(browser, PANEL.page, f"http://127.0.0.1:{running.public}") as visit:
            await visit.open()
            await visit.upload(file)
            await visit.hear("Received 2048 bytes")
        assert [line["detail"]["reason"] for line in events(running, "MESSAGE_UNREADABLE")] == ["file"]
        assert not events(running, "MESSAGE_TOO_LONG")


BACKENDS = """
backends: {{ desk: {{ url: "{}", kind: streamlit }} }}
routes: [{{ name: desk, match: {{ path: /desk/* }}, backend: desk }}]
"""


async def test_two_systems_behind_one_sidecar_are_each_guarded_as_their_kind(
    browser: Browser, start: Start, tmp_path: Path
):
    assert DESK.page is not None
    long = "this is far too long " * 15
    with front(tmp_path, await start(GRADIO), "gradio", BACKENDS.format(await start(DESK))) as running:
        with running.connect() as raw:
            said = json.dumps({"data": [{"text": long, "files": []}], "fn_index": 0, "session_hash": "x"}).encode()
            assert raw.send(post("/gradio_api/run/predict", said)).response().status == 400
        async with visiting(browser, DESK.page, f"http://127.0.0.1:{running.public}") as visit:
            await visit.open()
            await visit.send(long)
            await visit.sees(TOO_LONG)
            await visit.ask("next question")
        refused = [line["route"] for line in events(running, "MESSAGE_TOO_LONG")]
    assert refused == ["gradio-run", "desk-stream"]
