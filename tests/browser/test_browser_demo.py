"""The demo's page through the sidecar, in a real browser: what a person sees of each guard."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from sidecar.app import Sidecar
from sidecar.cli.demo import keep_key
from sidecar.demo.backend import serving
from sidecar.demo.policy import policy_text
from sidecar.running import Running
from sidecar.secret import Secret
from sidecar.settings import Settings
from tests.support.browser import chromium

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOTS = os.environ.get("SCREENSHOTS", "")
"""A folder for screenshots of the pages of these tests."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


class Visit:
    """A page, and everything that a browser complained of while it was open."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def send(self, text: str) -> None:
        await self.page.get_by_label("Your message").fill(text)
        await self.page.keyboard.press("Enter")

    async def press(self, button: str) -> None:
        await self.page.get_by_role("button", name=button).click()
        await expect(self.page.get_by_role("button", name="Send", exact=True)).to_be_enabled()

    async def shot(self, name: str) -> None:
        if SHOTS:
            await self.page.screenshot(path=f"{SHOTS}/{name}.png")

    def violations(self) -> list[str]:
        return [text for text in self.complaints if "Content Security Policy" in text or "Unrecognized" in text]


class Demo:
    """The demo as `sidecar demo` builds it, its backend a thing that can be stopped."""

    def __init__(self, front: Running, backend: str, ends: contextlib.AsyncExitStack) -> None:
        self.url = f"http://127.0.0.1:{front.public.port}"
        self.backend = backend
        self._ends = ends

    async def stop_backend(self) -> None:
        await self._ends.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    key = Secret("sk-proj-" + secrets.token_urlsafe(48))
    settings = Settings(
        encryption_key=Secret(secrets.token_urlsafe(48)),
        jwt_secret=Secret(secrets.token_urlsafe(48)),
        database_url=Secret(f"sqlite:///{tmp_path}/demo.db"),
    )
    async with contextlib.AsyncExitStack() as ends:
        backend = await ends.enter_async_context(serving(key=key, pace=0))
        text = policy_text(backend=backend.url, public="127.0.0.1:0", management="127.0.0.1:0")
        front = await Sidecar(settings, text, {}, prepare=lambda vault: keep_key(vault, key)).start()
        try:
            yield Demo(front, backend.url, ends)
        finally:
            await front.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    context = await browser.new_context()
    yield Visit(await context.new_page())
    await context.close()


async def test_the_page_loads_and_every_kind_of_answer_arrives(demo: Demo, visit: Visit) -> None:
    page = visit.page
    await page.goto(demo.url)
    await expect(page.get_by_text("behind a sidecar")).to_be_visible()
    for number, transport in enumerate(("stream", "json", "socket"), start=1):
        await page.get_by_label("Answers come as").select_option(transport)
        await visit.send(f"number {number}: 3 < 5 && a[i] > b")
        await expect(page.locator(".parrot .text")).to_have_count(number + 1)
        await expect(page.locator(".parrot .text").last).to_contain_text(f"number {number}: 3 < 5 && a[i] > b")
        await expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
    await expect(page.get_by_text("58 of 60 left")).to_be_visible()
    await expect(page.locator(".changed")).to_have_count(0)
    await visit.press("Ask the paid model without a key")
    await expect(page.locator(".parrot").last).to_contain_text("Paid model")
    await expect(page.get_by_role("alert")).to_be_empty()
    await visit.shot("chat")
    assert visit.complaints == []


@pytest.mark.parametrize("path", ["/", "/naive"])
@pytest.mark.parametrize("transport", ["stream", "json", "socket"])
async def test_markup_is_shown_as_typed_and_nothing_runs(demo: Demo, visit: Visit, path: str, transport: str) -> None:
    page = visit.page
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.goto(demo.url + path)
    await page.get_by_label("Answers come as").select_option(transport)
    await visit.press("Send a <script>")
    await expect(page.locator(".me .text")).to_contain_text('<script>alert("xss")</script>')
    await expect(page.locator(".parrot .text").last).to_contain_text("script>")
    await expect(page.get_by_text("Made harmless on its way.")).to_be_visible()
    await visit.press("Send an image with a trap")
    await expect(page.locator(".me .text").last).to_contain_text("<img src=x onerror=")
    await visit.shot(f"markup{path.replace('/', '-')}-{transport}")
    assert await page.locator("#log script, #log img").count() == 0
    assert await page.title() == "Parrot chat"
    assert dialogs == []
    assert visit.violations() == []


async def test_a_page_from_elsewhere_reads_that_it_may_not(demo: Demo, visit: Visit) -> None:
    page = visit.page
    await page.goto(f"{demo.backend}/?through={demo.url}")
    await visit.send("let me in")
    await expect(page.get_by_role("alert")).to_contain_text("This page may not use the chat")
    await expect(page.get_by_role("alert")).to_contain_text(demo.backend)
    await expect(page.get_by_label("Your message")).to_have_value("let me in")
    await visit.shot("foreign-origin")


async def test_the_sixty_first_request_gets_a_countdown(demo: Demo, visit: Visit) -> None:
    page = visit.page
    await page.goto(demo.url)
    await visit.press("Ask 70 times at once")
    await expect(page.locator(".parrot").last).to_contain_text("60 were answered and 10 refused")
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("Too many messages")
    await expect(alert).not_to_contain_text("still in the field")
    await expect(page.get_by_role("timer")).to_have_text(re.compile(r"You can go on in ([1-5]?\d|60|61) s\."))
    await expect(page.get_by_text("0 of 60 left")).to_be_visible()
    await visit.shot("too-fast")


async def test_a_message_that_is_too_long_is_refused_in_plain_words(demo: Demo, visit: Visit) -> None:
    page = visit.page
    await page.goto(demo.url)
    await visit.press("Send 1,001 characters")
    await expect(page.get_by_role("alert")).to_contain_text("That message is too long")
    await visit.shot("too-long")


async def test_a_backend_that_fails_or_is_gone_shows_words_and_nothing_of_itself(demo: Demo, visit: Visit) -> None:
    page = visit.page
    bodies: list[str] = []

    async def keep(response) -> None:
        if response.status >= 500:
            bodies.append(await response.text())

    page.on("response", keep)
    await page.goto(demo.url)
    await visit.press("Make the backend fail")
    await expect(page.get_by_role("alert")).to_contain_text("The chat failed")
    await visit.shot("backend-fails")
    await demo.stop_backend()
    await visit.send("anybody there?")
    await expect(page.get_by_role("alert")).to_contain_text("The chat is not there at the moment")
    await expect(page.get_by_role("alert")).to_contain_text("Reference for the operators of the chat")
    await expect(page.get_by_role("alert")).to_contain_text("Your message is still in the field")
    await expect(page.get_by_label("Your message")).to_have_value("anybody there?")
    await visit.shot("backend-gone")
    assert len(bodies) == 2
    for told in (*bodies, await page.content()):
        assert "Traceback" not in told
        assert demo.backend.removeprefix("http://") not in told.replace(demo.backend + "/?through", "")


LOOKS = [("light", 1280, 800), ("dark", 1280, 800), ("light", 360, 740), ("dark", 360, 740)]


@pytest.mark.parametrize(("scheme", "width", "height"), LOOKS)
async def test_nothing_is_cut_off_in_any_look(demo: Demo, browser: Browser, scheme, width: int, height: int) -> None:
    context = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
    visit = Visit(await context.new_page())
    page = visit.page
    await page.goto(demo.url)
    await expect(page.get_by_text("behind a sidecar")).to_be_visible()
    await visit.press("Send a <script>")
    await visit.send("x" * 300)
    await expect(page.locator(".parrot .text")).to_have_count(3)
    await visit.press("Make the backend fail")
    await expect(page.get_by_role("alert")).to_contain_text("The chat failed")
    await visit.shot(f"look-{scheme}-{width}")
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/look-{scheme}-{width}-full.png", full_page=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await context.close()
