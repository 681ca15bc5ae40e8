"""`sidecar suggest` on real systems with `kind` left out: where a person's text stands is found by observing alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.backends.conftest import Start
from tests.backends.front import TOO_LONG, front_of
from tests.backends.systems import KEY, LANGGRAPH, LITELLM, PAGES, System
from tests.backends.visit import visiting
from tests.support.raw import post
from tests.support.sidecar import MASTER, Running, threaded

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID = ("what is the weather like", "tell me something about trains", "and how long is a short story")
OBSERVE: dict[str, Any] = {
    "mode": "observe",
    "requests": {"max_body": "16MiB"},
    "clients": {"trusted_proxies": []},
}
PLACES = {
    # system → (method, path, place): what must be among the sure ones
    "gradio": ("POST", "/gradio_api/run/predict", "$.data[*].text"),
    "streamlit": ("SOCKET", "/_stcore/stream", "protobuf"),
    "chainlit": ("SOCKET", "/ws/socket.io", "$[1].message.output"),
    "panel": ("SOCKET", "/panel_app/ws", "$.events"),
    "nicegui": ("SOCKET", "/_nicegui_ws/socket.io", "$[1].args"),
    "shiny": ("SOCKET", "/websocket", "$.data"),
    "open-webui": ("POST", "/api/chat/completions", "$.user_message.content"),
}


def suggest(policy: Path) -> dict[str, Any]:
    said = subprocess.run(
        [sys.executable, "-m", "sidecar", "suggest", "--policy", str(policy), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "JWT_SECRET": MASTER},
        check=True,
    )
    found: dict[str, Any] = json.loads(said.stdout)
    return found


@pytest.mark.parametrize("name", PLACES)
async def test_the_text_places_of_a_system_are_found(name: str, browser: Browser, start: Start, tmp_path: Path) -> None:
    system = PAGES[name]
    assert system.page is not None
    with threaded(tmp_path, await start(system), {"JWT_SECRET": MASTER}, **OBSERVE) as running:
        async with visiting(browser, system.page, f"http://localhost:{running.public}") as visit:
            await visit.open()
            for text in SAID:
                with contextlib.suppress(AssertionError):  # an answer may be slow: only what was asked counts here
                    await visit.ask(text)
        found = await asyncio.to_thread(suggest, running.policy)
        if os.environ.get("SHOW"):
            print(found["yaml"])
    check(found, *PLACES[name])
    assert found["kind"] == name
    if name in AS_THEY_ARE:
        await chat_as_suggested(browser, system, tmp_path, found["yaml"])


MARKUP = "look at <img src=x onerror=alert(1)> to finish"
AS_THEY_ARE = ("gradio", "streamlit")
"""Systems whose suggested policies are run: over requests, over protocol buffers, over fragments of JSON."""


@contextlib.contextmanager
def as_suggested(folder: Path, text: str) -> Iterator[Running]:
    """Run a sidecar with what was suggested, once `sidecar check` has found it fine."""
    policy = folder / "suggested.yaml"
    policy.write_text(text)
    told = subprocess.run(
        [sys.executable, "-m", "sidecar", "check", str(policy)], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, ""), told.stdout + told.stderr
    with front_of(folder, text) as running:
        yield running


async def chat_as_suggested(browser: Browser, system: System, folder: Path, text: str) -> None:
    """The page works with the suggested policy, and markup is harmless."""
    assert system.page is not None
    with as_suggested(folder, text) as running:
        async with visiting(browser, system.page, f"http://127.0.0.1:{running.public}") as visit:
            await visit.open()
            await visit.ask("first question")
            await visit.send(MARKUP)
            await visit.hear("to finish")
            assert await visit.effects() == []
            await visit.send("this is far too long " * 60)
            await visit.sees(TOO_LONG)
            await visit.ask("last question")


def check(found: dict[str, Any], method: str, path: str, place: str) -> None:
    """A place is among the sure ones, and nothing of what was said is there."""
    sure = [
        (route["method"], route["path"], f"{at['form']} {at['path']}")
        for route in found["routes"]
        for at in route["places"]
        if at["sure"]
    ]
    assert any(said[0] == method and said[1].startswith(path) and place in said[2] for said in sure), found["yaml"]
    assert not any(text in json.dumps(found) for text in SAID)  # shapes, never content


APIS: dict[str, tuple[System, str, Any, str]] = {
    "litellm": (
        LITELLM,
        "/chat/completions",
        lambda text: {"model": "parrot", "messages": [{"role": "user", "content": text}]},
        "$.messages[*].content",
    ),
    "langgraph": (
        LANGGRAPH,
        "/runs/wait",
        lambda text: {"assistant_id": "agent", "input": {"messages": [{"role": "human", "content": text}]}},
        "$.input.messages[*].content",
    ),
}


def ask(running: Running, path: str, body: Any) -> None:
    with running.connect() as client:
        for text in SAID:
            raw = post(path, json.dumps(body(text)).encode(), f"Authorization: Bearer {KEY}")
            assert client.send(raw).response().status in (200, 404, 422)  # the name of a graph is of no matter here


@pytest.mark.parametrize("name", APIS)
async def test_the_text_places_of_an_api_are_found(name: str, start: Start, tmp_path: Path) -> None:
    system, path, body, place = APIS[name]
    with threaded(tmp_path, await start(system), {"JWT_SECRET": MASTER}, **OBSERVE) as running:
        await asyncio.to_thread(ask, running, path, body)
        found = await asyncio.to_thread(suggest, running.policy)
        check(found, "POST", path, place)
    with as_suggested(tmp_path, found["yaml"]) as running, running.connect() as client:
        raw = post(path, json.dumps(body(MARKUP)).encode(), f"Authorization: Bearer {KEY}")
        answer = await asyncio.to_thread(lambda: client.send(raw).response())
        assert (b"<img" in answer.body, answer.status) == (False, 200)
        assert client.send(post(path, json.dumps(body("long " * 300)).encode())).response().status == 400
