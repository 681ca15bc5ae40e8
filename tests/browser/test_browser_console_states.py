"""The console over a management listener whose parts a test sets: signing in, roles, restarts, what needs attention."""

from __future__ import annotations

import pytest
import pytest_asyncio

from sidecar.telemetry.gauges import CredentialState, Gauges
from sidecar.vocabulary import Event, Outcome
from tests.support.browser import chromium
from tests.support.facts import event, served
from tests.support.management import management

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser):
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


async def sign_in(page, panel, token=None):
    await page.goto(panel.base + "/")
    await page.get_by_label("Token").fill(token or panel.token("operator"))
    await page.get_by_role("button", name="Open the console").click()


async def open_view(page, title):
    await page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
    await page.get_by_role("heading", level=1, name=title, exact=True).wait_for()


async def test_a_person_sees_what_happens(page):
    problems = []
    async with management() as panel:
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        panel.recent.record(event(detail={"origin": "<img src=x onerror=document.title='run'>"}))
        await panel.bans.ban("203.0.113.9", panel.clock.now() + 60, "test <b>")

        await sign_in(page, panel)
        await open_view(page, "Events")
        await page.get_by_role("cell", name="CORS_BLOCKED", exact=True).wait_for()
        assert await page.locator("#panel img").count() == 0
        assert await page.title() == "Events – Sidecar console"
        assert "ab12" in await page.locator("#state").inner_text()
        assert "rejected" in await page.locator("#state").inner_text()

        panel.recent.record(event(organization="other", route="live-route"))
        await page.get_by_role("cell", name="live-route").wait_for()
        await page.get_by_label("Client", exact=True).fill("198.51.100.1")
        await page.get_by_text("No event matches.").wait_for()
        assert await page.locator("#panel tbody tr:visible").count() == 0
        assert page.url.endswith("#/events?client=198.51.100.1")

        for view, text in (
            ("Limits", "chat-burst"),
            ("Credentials", "…wxyz"),
            ("Policy", "cors: names acme"),
            ("Policy", "10.0.0.7"),
            ("Suggestions", "nothing yet"),
            ("Bans", "test <b>"),
        ):
            await open_view(page, view)
            await page.get_by_text(text).first.wait_for()
        await page.get_by_role("button", name="Lift the ban of 203.0.113.9").click()
        await page.get_by_role("button", name="Lift the ban", exact=True).click()
        await page.get_by_text("No address is banned.").wait_for()
        assert panel.bans.count() == 0

        await page.keyboard.press("g")
        await page.keyboard.press("c")
        await page.get_by_role("heading", level=1, name="Credentials").wait_for()
        assert page.url.endswith("#/credentials")

        stored = await page.evaluate(
            "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        )
        assert panel.token("operator") not in stored
        await page.get_by_role("button", name="Sign out").click()
        assert await page.get_by_label("Token").input_value() == ""
        assert await page.locator("#panel *").count() == 0
    assert problems == []


async def test_a_view_that_a_token_may_not_use_says_so(page):
    async with management() as panel:
        await sign_in(page, panel, panel.token("viewer", "acme"))
        await open_view(page, "Bans")
        await page.get_by_text("This takes a token for all organizations; yours is for acme.").wait_for()
        assert await page.get_by_role("alert").inner_text() == ""


async def test_a_link_with_a_token_in_its_fragment_signs_in_and_leaves_the_address_bar(page):
    async with management() as panel:
        sent = []
        page.on("request", lambda request: sent.append(request.url))
        await page.goto(f"{panel.base}/console/#token={panel.token('viewer')}&view=limits")
        await page.get_by_text("chat-burst").wait_for()
        assert page.url == f"{panel.base}/console/#/limits"
        assert [url for url in sent if panel.token("viewer") in url.partition("#")[0]] == []


FINDINGS = [
    "Maintenance mode: every request is refused with “Back at noon”.",
    "Not ready: draining.",
    "The backend is not ready: GET /health: status 500.",
    "redis does not answer: limits are counted in memory, each replica for itself.",
    "A newer policy was rejected; the old one is in force. See why",
    "1 credential cannot be opened with this ENCRYPTION_KEY. Show them",
    "2 credentials expired. Show them",
    "Guards that failed in the hour: 1. Show them",
    "1 credential will expire within seven days. Show them",
    "Not in clients.trusted_proxies, but looks like a proxy: 1 peer. Show them",
    "Of the last two minutes' 40 requests 40 were refused. Most often refused lately: 203.0.113.9 (40).",
    "Unusual usage in the hour: 2. Show them",
    "Lost: 3 log lines.",
]


async def test_what_needs_attention_is_said_first_the_urgent_before_the_rest(page):
    async def not_ready():
        return "GET /health: status 500"

    async with management(backend_ready=not_ready, stores=lambda: {"redis": False}) as panel:
        now = panel.clock.now()
        states = ((now - 1, False), (now - 2, False), (now + 86_400, False), (None, True), (None, False))
        found = [CredentialState("acme", "openai", f"{number}", *state) for number, state in enumerate(states)]
        panel.metrics.watch(Gauges(credentials=lambda: found, log_dropped=lambda: 3))
        panel.reasons.append("draining")
        panel.parts.maintenance.on("Back at noon", 60.0)
        for kind, times in ((Event.GUARD_FAILED, 1), (Event.USAGE_ANOMALY, 2)):
            for _ in range(times):
                panel.parts.events.record(event(kind, Outcome.OBSERVED, detail={}))
        for _ in range(40):
            panel.parts.history.take(served(status=429, backend=-1.0))
        await page.goto(f"{panel.base}/console/#token={panel.token('viewer')}")
        lines = page.get_by_role("list", name="What needs attention").get_by_role("listitem")
        await lines.first.wait_for()
        assert [text.split("\n")[-1] for text in await lines.all_inner_texts()] == FINDINGS
        badges = await lines.locator(".badge").all_inner_texts()
        assert badges == ["now"] * 8 + ["look"] * 5


async def test_events_go_on_after_a_restart_that_numbers_them_anew(page):
    async with management() as panel:
        for _ in range(5):
            panel.recent.record(event(route="before"))
        await page.goto(f"{panel.base}/console/#token={panel.token('viewer')}&view=events")
        await page.get_by_role("cell", name="before").first.wait_for()
        port = panel.server.port
    async with management(port=port) as panel:
        panel.recent.record(event(route="afterwards"))
        await page.get_by_role("cell", name="afterwards").wait_for()
        panel.recent.record(event(route="live-again"))
        await page.get_by_role("cell", name="live-again").wait_for()
        assert await page.get_by_role("cell", name="before").count() == 5


async def test_a_wrong_token_is_said_kindly_and_foreign_script_does_not_run(page):
    async with management() as panel:
        await sign_in(page, panel, "nonsense")
        await page.get_by_role("alert").get_by_text("Authentication failed").wait_for()
        ran = await page.evaluate(
            """async () => {
              const script = document.createElement("script");
              try { script.textContent = "window.ran = 1"; } catch { /* trusted types */ }
              document.body.append(script);
              let fetched = true;
              try { await fetch("https://example.invalid/"); } catch { fetched = false; }
              return [window.ran ?? 0, fetched];
            }"""
        )
        assert ran == [0, False]
