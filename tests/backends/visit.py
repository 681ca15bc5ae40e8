"""One visitor at a chat's page in Chromium: types, sends, uploads, reads, and notes what the browser complains of."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, Locator, Request, expect
from playwright.async_api import Page as Tab

from tests.backends.systems import Page

PATIENCE = 30_000
"""Milliseconds that a page may take on a busy machine."""

SHOTS = os.environ.get("SCREENSHOTS", "")
"""A folder for screenshots of the pages of these tests."""

DEEP_TEXT = """(root) => {
    let text = '';
    const read = (node) => {
        if (node.nodeType === Node.TEXT_NODE) text += node.data;
        if (/^(STYLE|SCRIPT)$/.test(node.nodeName)) return;
        if (node.shadowRoot) node.shadowRoot.childNodes.forEach(read);
        node.childNodes.forEach(read);
    };
    read(root);
    return text;
}"""
"""The text of an element, shadow roots included."""

WATCH = f"""() => {{
    const deep = {DEEP_TEXT};
    window.__lengths = new Set();
    setInterval(() => {{
        const text = deep(document.body);
        const at = text.lastIndexOf('You said: ');
        if (at >= 0) window.__lengths.add(/^[a-z ]*/.exec(text.slice(at + 10))[0].trim().length);
    }}, 15);
}}"""
"""Note how long the last answer was whenever it is looked at."""

LIVE = """() => {
    const live = [];
    const look = (root) => {
        for (const element of root.querySelectorAll('*')) {
            for (const { name } of element.attributes) {
                if (/^on(error|load|toggle|focus|click|mouse|pointer|anim|trans|begin|end)/i.test(name)) {
                    live.push(element.outerHTML.slice(0, 200));
                }
            }
            if (element.shadowRoot) look(element.shadowRoot);
        }
    };
    look(document);
    return live;
}"""
"""Elements with a handler in their markup, in shadow roots too."""


class Visit:
    """A tab with one chat in it, and all that the browser complained of while it was open."""

    def __init__(self, tab: Tab, page: Page, url: str) -> None:
        self.tab = tab
        self.page = page
        self.url = url + page.path
        self.complaints: set[str] = set()
        tab.set_default_timeout(PATIENCE)
        tab.on(
            "console", lambda line: self._complain(line.text, line.location["url"]) if line.type == "error" else None
        )
        tab.on("pageerror", lambda error: self._complain(str(error), ""))
        self._asked: dict[Request, float] = {}
        tab.on("request", lambda request: self._asked.setdefault(request, time.monotonic()))
        tab.on("requestfinished", lambda request: self._asked.pop(request, None))
        tab.on("requestfailed", lambda request: self._asked.pop(request, None))

    def _complain(self, text: str, url: str) -> None:
        # Ports and ids differ from run to run.
        self.complaints.add(re.sub(r"127\.0\.0\.1:\d+|[0-9a-f-]{32,}", "*", f"{text} {url}".strip()))

    @property
    def box(self) -> Locator:
        return self.tab.locator(self.page.box).first

    @property
    def said(self) -> Locator:
        return self.tab.locator(self.page.said)

    @property
    def answered(self) -> Locator:
        return self.tab.locator(self.page.answered)

    async def begin(self) -> None:
        """Load the page; close what greets a first visitor whenever it is in the way."""
        if self.page.greeting:
            await self.tab.add_locator_handler(self.tab.locator(self.page.greeting), Locator.click)
        await self.tab.goto(self.url)

    async def open(self) -> None:
        """Load the page; return once its box can be typed into."""
        await self.begin()
        await self.usable()

    async def idle(self) -> None:
        """Wait until the page has got all that it asks for: some take no message before. Streams that stay do not count."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.1)
            busy = any(time.monotonic() - since < 3 for since in self._asked.values())
            quiet = 0 if busy else quiet + 1

    async def usable(self) -> None:
        await expect(self.box).to_be_editable(timeout=PATIENCE)

    async def send(self, text: str) -> None:
        await self.idle()
        await self.usable()
        await self.box.fill(text)
        if self.page.button:
            # A dialog that has just gone may still have the keyboard.
            await expect(self.tab.locator(self.page.button)).to_be_enabled(timeout=PATIENCE)
            await self.tab.locator(self.page.button).click()
        else:
            await self.box.press("Enter")

    async def hear(self, text: str | re.Pattern[str]) -> None:
        """Wait until the last answer holds this text."""
        await expect(self.answered.last).to_contain_text(text, timeout=PATIENCE)

    async def ask(self, text: str) -> None:
        """Send a message and wait for its answer."""
        await self.send(text)
        await self.hear(f"You said: {text}")

    async def watch(self) -> None:
        """Note from now on how the answers grow."""
        await self.tab.evaluate(WATCH)

    async def lengths(self) -> list[int]:
        """Return the lengths that answers were seen with since `watch`."""
        return sorted(await self.tab.evaluate("() => [...window.__lengths]"))

    async def sees(self, text: str) -> None:
        """Wait until the page shows this text somewhere."""
        await expect(self.tab.get_by_text(text).first).to_be_visible(timeout=PATIENCE)

    async def finds(self, text: str) -> None:
        """Wait until the page shows this text; scroll up for it, because some pages keep only the last messages."""
        found = self.tab.get_by_text(text)
        for _ in range(20):
            if await found.count():
                break
            await self.answered.last.hover()
            await self.tab.mouse.wheel(0, -2_000)
            await asyncio.sleep(0.2)
        await expect(found.first).to_be_attached(timeout=PATIENCE)

    async def upload(self, file: Path) -> None:
        """Choose a file as a person does; it goes with the next message where the page has it so."""
        # The end of an answer empties the box, with a file that is in it already.
        await self.idle()
        if self.page.tab:
            await self.tab.locator(self.page.tab).first.click()
        await self.tab.locator(self.page.file).first.set_input_files(file)
        if self.page.submit:
            await self.tab.locator(self.page.submit).first.click()
        if self.page.attached:
            await expect(self.tab.locator(self.page.attached).first).to_be_visible(timeout=PATIENCE)

    async def text(self) -> str:
        """Return all text of the page."""
        text: str = await self.tab.evaluate(f"() => ({DEEP_TEXT})(document.body)")
        return text

    async def effects(self) -> list[str]:
        """Return what ran: what payloads have written into `window.__xss`, and live elements that they made."""
        ran: list[str] = await self.tab.evaluate("() => [].concat(window.__xss || [])")
        live: list[str] = await self.tab.evaluate(LIVE)
        return ran + live

    async def shot(self, name: str) -> None:
        if SHOTS:
            await self.tab.screenshot(path=f"{SHOTS}/{name}.png")


@contextlib.asynccontextmanager
async def visiting(browser: Browser, page: Page, url: str) -> AsyncIterator[Visit]:
    """Open a tab of its own, without the cookies of others."""
    context = await browser.new_context()
    try:
        yield Visit(await context.new_page(), page, url)
    finally:
        await context.close()
