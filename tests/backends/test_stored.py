"""Open WebUI behind the sidecar: what people keep there (notes, prompts, memories …) is escaped, and answers stay."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.backends.conftest import Start
from tests.backends.front import events, front
from tests.backends.systems import OPEN_WEBUI
from tests.backends.visit import visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=x onerror=alert(1)> " + "and more than a message may have " * 10
KEPT: list[tuple[str, dict[str, Any]]] = [
    ("/api/v1/notes/create", {"title": MARKUP, "data": {"content": {"md": MARKUP, "html": "<p>hello</p>"}}}),
    ("/api/v1/prompts/create", {"command": "one", "name": MARKUP, "content": MARKUP}),
    ("/api/v1/memories/add", {"content": MARKUP}),
    ("/api/v1/folders/", {"name": "f", "data": {"system_prompt": MARKUP}}),
    ("/api/v1/models/create", {"id": "m", "base_model_id": "parrot", "name": "M", "params": {"system": MARKUP}, "meta": {"description": MARKUP}}),
    ("/api/v1/evaluations/feedback", {"type": "rating", "data": {"rating": 1, "model_id": "parrot", "comment": MARKUP}}),
    ("/api/v1/users/user/status/update", {"status_message": MARKUP}),
    ("/api/v1/knowledge/create", {"name": "k", "description": MARKUP}),
]  # fmt: skip


def _post(base: str, path: str, body: Any, token: str = "") -> str:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with urllib.request.urlopen(
        urllib.request.Request(base + path, json.dumps(body).encode(), headers), timeout=60
    ) as answer:
        text: str = answer.read().decode()
    return text


async def test_what_people_keep_is_escaped(start: Start, tmp_path: Path):
    with front(tmp_path, await start(OPEN_WEBUI), "open-webui") as running:
        base = f"http://127.0.0.1:{running.public}"
        user = json.loads(await asyncio.to_thread(_post, base, "/api/v1/auths/signin", {"email": "", "password": ""}))
        for path, body in KEPT:
            answer = await asyncio.to_thread(_post, base, path, body, user["token"])
            assert ("<img" in answer, "&lt;img" in answer) == (False, True), (path, answer)


async def test_answers_with_code_are_the_same_after_a_reload(browser: Browser, start: Start, tmp_path: Path):
    assert OPEN_WEBUI.page is not None
    with front(tmp_path, await start(OPEN_WEBUI), "open-webui") as running:
        async with visiting(browser, OPEN_WEBUI.page, f"http://127.0.0.1:{running.public}") as visit:
            await visit.open()
            await visit.send("print with tags: `print [[b>hi[[/b>` to finish")
            await visit.hear("to finish")
            await visit.ask("next question")
            before = await visit.answered.first.inner_text()
            await visit.tab.reload()
            await visit.usable()
            await visit.hear("next question")
            assert await visit.answered.first.inner_text() == before
            assert "print <b>hi</b>" in before
        assert not events(running, "MESSAGE_SANITIZED")
