"""A page that knows nothing of the sidecar, in a real browser: it works with the default, and with strict it is explained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.support.backends import Serving
from tests.support.browser import chromium
from tests.support.raw import Message
from tests.support.sidecar import Running, threaded, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = b"""<!doctype html><title>chat</title><button onclick="send()">Send</button><p id=said></p>
<script>
  async function send() {
    const answer = await fetch("/api/chat", { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } })
    said.textContent = `answered ${answer.status}`
  }
</script>"""


def answer(request: Message) -> bytes:
    body = PAGE if request.target == b"/" else b"{}"
    kind = b"text/html" if request.target == b"/" else b"application/json"
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    # Reports of the Reporting API are sent after a minute otherwise.
    async with chromium("--short-reporting-delay") as running:
        yield running


async def visit(browser: Browser, running: Running) -> tuple[Page, list[str]]:
    page = await browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    await page.goto(f"http://localhost:{running.public}/")
    return page, complaints


SESSIONS: dict[str, Any] = {
    "sessions": {"mode": "issue"},
    "routes": [{"name": "chat", "match": {"path": "/api/chat", "methods": ["POST"]}, "session": "required"}],
}


async def test_an_inline_page_works_and_has_its_session(tmp_path: Path, browser: Browser) -> None:
    with Serving(answer) as backend, threaded(tmp_path, backend.url, **SESSIONS) as running:
        page, complaints = await visit(browser, running)
        await page.get_by_role("button").click()
        await page.get_by_text("answered 200").wait_for()
        assert complaints == []
        await page.close()


async def test_under_strict_the_log_says_what_to_write(tmp_path: Path, browser: Browser) -> None:
    with (
        Serving(answer) as backend,
        threaded(tmp_path, backend.url, security_headers={"preset": "strict"}, **SESSIONS) as running,
    ):
        page, complaints = await visit(browser, running)
        assert any("Content Security Policy" in text for text in complaints)

        def told() -> list[dict[str, Any]]:
            return [line["detail"] for line in running.lines() if line.get("event") == "CSP_VIOLATION"]

        await asyncio.to_thread(until, lambda: bool(told()), "a violation in the log")
        found = next(detail for detail in told() if detail["blocked"] == "inline")
        assert found["directive"] in ("script-src-elem", "script-src-attr")
        assert (found["key"], found["instead"]) == ("security_headers.preset", "write preset: app")
        assert str(running.policy) in found["place"]
        assert running.metric("sidecar_csp_violations_total", directive=found["directive"]) >= 1
        await page.close()
