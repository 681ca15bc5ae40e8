"""The demo's page in a real browser: what a person sees when things go well, and when they do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from sidecar.demo.backend import Backend, application, serving
from tests.support.browser import chromium

CSP = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"


# One browser for all tests here: it takes a second to start. So all of them share its event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


async def type_and_send(page: Page, text: str) -> None:
    await page.get_by_label("Your message").fill(text)
    await page.keyboard.press("Enter")


class Front:
    """The backend behind a strict CSP, and before it whatever answer a test wishes to see."""

    def __init__(self) -> None:
        self.refusal: web.Response | None = None
        self.marks: dict[str, str] = {}

    @web.middleware
    async def stand_in_front(self, request: web.Request, handler):
        if self.refusal is not None and request.path in ("/api/chat", "/error"):
            # A response can be sent once; each request gets its own.
            made = self.refusal
            return web.Response(status=made.status, headers=made.headers, body=made.body)
        return await handler(request)

    async def stamp(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Request-ID"] = "req-1"
        response.headers.update(self.marks)

    def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = {"error": "…", "code": code, "request_id": "req-7"}
        self.refusal = web.json_response(body, status=status, headers=headers)


@contextlib.asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def front() -> AsyncIterator[tuple[Front, str]]:
    standing = Front()
    app = application(pace=0)
    app.middlewares.append(standing.stand_in_front)
    app.on_response_prepare.append(standing.stamp)
    async with listening(app) as url:
        yield standing, url


@pytest_asyncio.fixture(loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with serving(pace=0) as running:
        yield running


async def test_a_person_chats_by_keyboard_over_every_transport_under_a_strict_csp(front, page):
    standing, url = front
    standing.marks = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "57"}
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    log = page.get_by_role("log")
    await expect(page.get_by_text("behind a sidecar")).to_be_visible()
    for number, transport in enumerate(("stream", "json", "socket"), start=1):
        await page.get_by_label("Answers come as").select_option(transport)
        await type_and_send(page, f"say {number} <b>bold</b>")
        await expect(log).to_contain_text(f"say {number} <b>bold</b>")
        await expect(log.locator(".parrot .text")).to_have_count(number + 1)
        await expect(log.locator(".parrot .text").last).to_contain_text(f"“say {number} <b>bold</b>” ")
        await expect(page.get_by_label("Your message")).to_be_focused()
    assert await log.locator("b").count() == 0
    await expect(page.get_by_text("57 of 60 left")).to_be_visible()
    await expect(page.get_by_role("alert")).to_be_empty()
    assert complaints == []


async def test_a_changed_message_is_explained(front, page):
    standing, url = front
    standing.marks = {"X-Sidecar-Sanitized": "1"}
    await page.goto(url)
    await page.get_by_role("button", name="Send a <script>").click()
    await expect(page.get_by_text("Made harmless on its way.")).to_be_visible()


WAIT = "You can go on in"
REFUSALS = [
    pytest.param(
        429, "RATE_LIMIT_EXCEEDED", {"Retry-After": "42"}, ["Too many messages", f"{WAIT} 4"], id="rate limited"
    ),
    pytest.param(400, "MESSAGE_TOO_LONG", {}, ["too long", "fewer words"], id="too long"),
    pytest.param(400, "INVALID_SESSION_ID", {}, ["conversation has ended"], id="session over"),
    pytest.param(403, "CORS_BLOCKED", {}, ["may not use the chat"], id="origin"),
    pytest.param(403, "CONTENT_BLOCKED", {}, ["other words"], id="content"),
    pytest.param(502, "BACKEND_UNREACHABLE", {}, ["not there at the moment"], id="backend down"),
    pytest.param(503, "CREDENTIAL_UNAVAILABLE", {}, ["key for the model is missing"], id="no key"),
    pytest.param(504, "BACKEND_TIMEOUT", {}, ["too long to answer"], id="backend slow"),
    pytest.param(418, "TEAPOT", {}, ["try it another way"], id="a refusal of tomorrow"),
]


async def test_every_refusal_is_a_sentence_and_loses_nothing(front, page):
    standing, url = front
    await page.goto(url)
    for refusal in REFUSALS:
        status, code, headers, says = refusal.values
        standing.refuse(status, code, headers)
        await type_and_send(page, "my dear words")
        for words in [*says, "req-7"]:
            await expect(page.get_by_role("alert")).to_contain_text(words)
        await expect(page.get_by_label("Your message")).to_have_value("my dear words")
        await expect(page.locator(".bubble")).to_have_count(1)
    standing.refusal = None
    await type_and_send(page, "hello")
    await expect(page.locator(".bubble")).to_have_count(3)
    await expect(page.get_by_role("alert")).to_be_empty()


async def test_the_countdown_reads_the_reset_too_and_ends(front, page):
    standing, url = front
    soon = datetime.now(UTC) + timedelta(seconds=30)
    reset = soon.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    standing.refuse(429, "RATE_LIMIT_EXCEEDED", {"X-RateLimit-Reset": reset})
    await page.clock.install()
    await page.goto(url)
    await type_and_send(page, "quick")
    await expect(page.get_by_role("timer")).to_contain_text(WAIT)
    await page.clock.run_for(40_000)
    await expect(page.get_by_role("timer")).to_have_text("You can go on now.")


async def test_failure_of_the_backend_shows_no_stack(backend, page):
    await page.goto(backend.url)
    await expect(page.get_by_text("no sidecar in front")).to_be_visible()
    await page.get_by_role("button", name="Make the backend fail").click()
    await expect(page.get_by_role("alert")).to_contain_text("The chat failed")
    assert "Traceback" not in await page.content()


async def test_the_naive_page_alone_runs_what_comes_back(backend, page):
    """Without a sidecar the trap springs: so the page is a fair witness when one stands in front."""
    for path, title in (("/", "Parrot chat"), ("/naive", "owned")):
        await page.goto(backend.url + path)
        await page.get_by_role("button", name="Send an image with a trap").click()
        await expect(page.locator(".parrot .text")).to_have_count(2)
        await expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
        await expect(page).to_have_title(title)


async def test_a_foreign_origin_and_a_missing_chat_are_told_apart(front, page):
    _, url = front
    async with serving(pace=0) as elsewhere:
        # The chat in front sends no CORS headers: as seen from elsewhere it refuses.
        await page.goto(f"{elsewhere.url}/?through={url}")
        await expect(page.get_by_text(f"comes from {elsewhere.url} and talks to the chat at {url}")).to_be_visible()
        await type_and_send(page, "let me in")
        await expect(page.get_by_role("alert")).to_contain_text(f"does not talk to pages from {elsewhere.url}")
        await page.goto(f"{elsewhere.url}/?through=http://127.0.0.1:9")
        await type_and_send(page, "anybody?")
        await expect(page.get_by_role("alert")).to_contain_text("is not running")


async def test_a_stream_that_breaks_off_keeps_what_was_heard(page):
    seen = asyncio.Event()

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for name, data in (("start", {"message": "m"}), ("word", {"text": "half an ans"})):
            await response.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        # A browser drops what it has not read yet when the connection breaks.
        await seen.wait()
        request.transport.abort()
        return response

    app = application(pace=0)

    @web.middleware
    async def breaking(request: web.Request, handler):
        return await (broken if request.path == "/api/chat" else handler)(request)

    app.middlewares.append(breaking)
    async with listening(app) as url:
        await page.goto(url)
        await type_and_send(page, "m")
        await expect(page.locator(".parrot .text").last).to_have_text("half an ans")
        seen.set()
        await expect(page.get_by_role("alert")).to_contain_text("The answer broke off")
        await expect(page.locator(".parrot .text").last).to_have_text("half an ans")
