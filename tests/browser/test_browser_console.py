"""The console in a real browser, over a real sidecar with traffic: each view, each task, desktop and phone."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from sidecar.admin.console_link import console_link
from sidecar.admin.jwt import make_token
from sidecar.admin.roles import Role
from sidecar.app import Sidecar
from sidecar.cli.demo import keep_key
from sidecar.demo.backend import serving
from sidecar.demo.policy import policy_text
from sidecar.running import Running
from sidecar.secret import Secret
from sidecar.settings import Settings
from tests.support.accessibility import violations
from tests.support.browser import chromium

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOTS = os.environ.get("SCREENSHOTS", "")
"""A folder for screenshots of the views."""
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LOOKS = {f"{scheme}-{size['width']}": (scheme, size) for scheme in ("light", "dark") for size in (DESKTOP, PHONE)}
WIDTHS = (320, 390, 800, 1000, 1201, 1280, 1920)
FOREIGN = "https://malicious-site.example"
BANNED = "203.0.113.66"


@dataclass
class Deployment:
    """A sidecar whose clients have chatted, and been refused."""

    front: Running
    jwt: Secret
    policy: Path
    refused: str  # the id of a request of a foreign page

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.front.management.port}"

    def link(self, role: Role = Role.ADMIN, organization: str = "*", subject: str = "ann") -> str:
        token = make_token(self.jwt, role, now=time.time(), organization=organization, subject=subject)
        return console_link(self.base, token)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    folder = tmp_path_factory.mktemp("console")
    key, jwt = Secret("sk-proj-" + secrets.token_urlsafe(48)), Secret(secrets.token_urlsafe(48))
    settings = Settings(
        encryption_key=Secret(secrets.token_urlsafe(48)),
        jwt_secret=jwt,
        database_url=Secret(f"sqlite:///{folder}/console.db"),
    )
    async with serving(key=key, pace=0) as backend:
        text = policy_text(backend=backend.url, public="127.0.0.1:0", management="127.0.0.1:0")
        text = text.replace("  ban: null\n", f"  trusted_proxies: [127.0.0.1]\n  deny: [{BANNED}]\n")
        policy = folder / "policy.yaml"
        policy.write_text(f"{text}\nevents: {{ log: null, file: {folder}/events.log }}\n")
        front = await Sidecar(settings, policy, {}, prepare=lambda vault: keep_key(vault, key)).start()
        try:
            refused = await traffic(f"http://127.0.0.1:{front.public.port}")
            yield Deployment(front, jwt, policy, refused)
        finally:
            await front.stop()


async def traffic(base: str) -> str:
    """Chat, be refused for several reasons, and return the id of one refusal."""
    async with aiohttp.ClientSession(base) as session:

        async def chat(message: str, client: str, **headers: str) -> str:
            sent = {"X-Forwarded-For": client, **headers}
            async with session.post("/api/chat", json={"message": message}, headers=sent) as response:
                return str(response.headers["X-Request-ID"])

        for number in range(12):
            await chat(f"hello {number}", f"198.51.100.{number}")
        await chat("<script>alert(1)</script>", "198.51.100.1")
        await chat("x" * 2000, "198.51.100.2")
        await chat("hi", BANNED)
        for _ in range(64):
            await chat("flood", "203.0.113.9")
        return await chat("hi", "198.51.100.3", Origin=FOREIGN)


class Visit:
    """A page, and everything that the browser complained of while it was open."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, title: str) -> None:
        await self.page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
        await expect(self.page.get_by_role("heading", level=1, name=title, exact=True)).to_be_visible()

    async def look(self, look: str) -> None:
        scheme, size = LOOKS[look]
        await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        await self.page.set_viewport_size(size)  # type: ignore[arg-type]


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, deployment: Deployment) -> AsyncIterator[Visit]:
    context = await browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    seen = Visit(await context.new_page())
    await seen.page.goto(deployment.link())
    await expect(seen.page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    yield seen
    await context.close()
    assert seen.complaints == []


async def test_every_view_is_accessible_and_fits_in_light_and_dark_on_desktop_and_phone(visit: Visit) -> None:
    page = visit.page
    titles = await page.get_by_role("navigation").get_by_role("link").all_inner_texts()
    assert {"Overview", "Events", "Policy", "Explain", "Suggestions", "Limits", "Bans", "Credentials"} <= set(titles)
    for title in titles:
        await visit.look("light-1280")
        await visit.open(title)
        await page.wait_for_load_state("networkidle") if title != "Events" else None
        await expect(page.locator("#panel > *").first).to_be_visible()
        for size in WIDTHS:
            await page.set_viewport_size({"width": size, "height": 800})
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= size, f"{title} on {size}: {width} wide"
        for look in LOOKS:
            await visit.look(look)
            if look in ("light-1280", "dark-390"):
                assert await violations(page) == [], f"{title}, {look}"
            if SHOTS:
                await page.screenshot(path=f"{SHOTS}/console-{title.lower()}-{look}.png")
        assert await page.get_by_role("alert").all_inner_texts() == [""] * await page.get_by_role("alert").count()


async def test_the_sign_in_form_is_accessible(browser: Browser, deployment: Deployment) -> None:
    page = await browser.new_page()
    await page.goto(f"{deployment.base}/console/")
    await expect(page.get_by_label("Token")).to_be_focused()
    for look in ("light", "dark"):
        await page.emulate_media(color_scheme=look)  # type: ignore[arg-type]
        assert await violations(page) == []
    await page.close()


async def test_the_overview_counts_what_happened(visit: Visit) -> None:
    page = visit.page
    await expect(
        page.get_by_role("table", name="Refusals in the last hour").get_by_role("cell", name="RATE_LIMIT_EXCEEDED")
    ).to_be_visible()
    for guard, number in (("rate_limits", 4), ("cors", 1), ("message", 1), ("address", 1)):
        row = page.get_by_role("row", name=re.compile(f"^{guard} "))
        assert re.search(rf"\b{number}\b", await row.inner_text())
    worst = page.get_by_role("table", name="Clients that were refused most").get_by_role("row").nth(1)
    assert (await worst.inner_text()).split() == ["203.0.113.9", "4", "64"]
    chart = page.get_by_role("img", name=re.compile("Requests a minute"))
    assert re.search(r"\d+ requests in the hour", await chart.get_attribute("aria-label") or "")
    await page.get_by_text("As a table").first.click()
    table = page.get_by_role("table", name="Requests a minute")
    await expect(table.get_by_role("row")).to_have_count(61)
    counts = [
        sum(map(int, await row.get_by_role("cell").all_inner_texts()))
        for row in (await table.get_by_role("row").all())[1:4]
    ]
    assert sum(counts) >= 80
    await page.get_by_role("link", name="Refused").click()
    await expect(page.get_by_label("Outcome")).to_have_value("refused")
    assert page.url.endswith("#/events?outcome=refused")


async def test_maintenance_is_switched_on_and_off(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    await page.get_by_role("button", name="Switch on…").click()
    dialog = page.get_by_role("dialog", name="Maintenance mode")
    assert await violations(page) == []
    await dialog.get_by_label("Message").fill("Back at noon")
    await dialog.get_by_role("button", name="Refuse all requests").click()
    await expect(page.get_by_role("list", name="What needs attention")).to_contain_text("Back at noon")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{deployment.front.public.port}/") as response:
            assert response.status == 503
        await page.get_by_role("button", name="Serve again").click()
        await expect(page.get_by_text("This replica serves again.")).to_be_visible()
        async with session.get(f"http://127.0.0.1:{deployment.front.public.port}/") as response:
            assert response.status == 200


async def test_a_refresh_leaves_the_focus_and_open_tables_where_they_are(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    await page.clock.install()
    await page.reload()
    await page.goto(deployment.link())
    link = page.get_by_role("table", name="Requests in the last hour by route").get_by_role("link", name="chat")
    await page.get_by_text("As a table").first.click()
    await link.focus()
    for _ in range(2):
        async with page.expect_response("**/api/overview"):
            await page.clock.run_for(10_500)
    await expect(link).to_be_focused()
    await expect(page.get_by_role("table", name="Requests a minute")).to_be_visible()


async def test_why_a_request_was_refused_by_its_id(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    await page.keyboard.press("/")
    await page.keyboard.type(deployment.refused)
    await page.keyboard.press("Enter")
    answer = page.locator(".why")
    await expect(answer).to_contain_text("403 CORS_BLOCKED")
    await expect(answer).to_contain_text("policy.yaml:16")
    await expect(answer).to_contain_text("add its origin to cors.allowed_origins")
    await expect(page.locator(".live tbody tr")).to_have_count(1)
    await page.locator(".live tbody tr").click()
    details = page.locator(".details")
    for text in ("cors", FOREIGN, deployment.refused, "POST /api/chat", "198.51.100.3"):
        await expect(details).to_contain_text(text)
    await details.get_by_role("link", name="policy.yaml:16").click()
    await expect(page.locator(".source .target")).to_contain_text("allowed_origins")


async def test_a_request_that_passed_and_one_that_is_not_known(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{deployment.front.public.port}/api/chat", json={"message": "hi"}) as response,
    ):
        passed = response.headers["X-Request-ID"]
    await page.goto(f"{deployment.base}/console/#/events?id={passed}")
    await expect(page.locator(".why")).to_contain_text("It was not refused: status 200")
    await page.get_by_label("Request id", exact=True).fill("no-such-request")
    await expect(page.locator(".why")).to_contain_text("sidecar why no-such-request --log FILE")


async def test_events_are_filtered_stand_still_with_details_and_go_on(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    await visit.open("Events")
    rows = page.locator(".live tbody tr:not(.details)")
    await page.get_by_label("Event", exact=True).fill("too_long")
    await expect(rows).to_have_count(1)
    await page.get_by_role("button", name="Clear").click()
    await page.get_by_label("Client", exact=True).fill("198.51.100.77")
    await expect(page.get_by_text("No event matches.")).to_be_visible()
    await say(deployment, "198.51.100.77")
    await expect(rows).to_have_count(1)
    height = (await rows.first.bounding_box() or {})["height"]
    await rows.first.get_by_role("button").press("Enter")
    await expect(page.locator(".details")).to_have_count(1)
    await say(deployment, "198.51.100.77")
    await expect(page.get_by_text(re.compile(r"paused, \d+ new"))).to_be_visible()
    await expect(rows).to_have_count(1)
    await rows.first.get_by_role("button").press("Enter")
    await expect(rows).to_have_count(2)
    heights = [(await row.bounding_box() or {})["height"] for row in await rows.all()]
    assert heights == pytest.approx([height, height], abs=0.6)  # the last row has no border
    await page.get_by_role("button", name="Pause").click()
    await say(deployment, "198.51.100.77")
    await expect(page.get_by_text("paused, 1 new")).to_be_visible()
    await page.get_by_role("button", name="Pause").click()
    await expect(rows).to_have_count(3)


async def say(deployment: Deployment, client: str) -> None:
    url = f"http://127.0.0.1:{deployment.front.public.port}/api/chat"
    async with aiohttp.ClientSession() as session:
        await session.post(url, json={"message": "hi"}, headers={"X-Forwarded-For": client})


async def test_another_policy_is_judged_before_it_is_in_force(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    await visit.open("Policy")
    yaml = page.get_by_label("Its YAML")
    written = await yaml.input_value()
    assert written == deployment.policy.read_text()
    await yaml.fill(written.replace("limit: 60,", "limit: 20,").replace('"http://localhost:3000"', f'"{FOREIGN}"'))
    await page.get_by_role("button", name="Check, compare and replay").click()
    changes = page.get_by_role("table", name="Values that would change")
    await expect(changes.get_by_role("row", name=re.compile("ip-minute"))).to_contain_text("60")
    await expect(changes).to_contain_text(FOREIGN)
    more = page.get_by_role("table", name="Requests that would be refused")
    await expect(more.get_by_role("row", name=re.compile("rate_limits"))).to_contain_text("40")
    less = page.get_by_role("table", name="Requests that would pass")
    await expect(less.get_by_role("row", name=re.compile("cors"))).to_contain_text(deployment.refused[-8:])
    assert await violations(page) == []
    await yaml.fill("version: 1\nmode: strict\n")
    await page.get_by_role("button", name="Check, compare and replay").click()
    await expect(page.get_by_text("It would be rejected")).to_be_visible()
    await expect(page.get_by_role("table", name="Problems")).to_contain_text("mode")
    await page.get_by_text("Show them").click()
    await page.get_by_label("Show keys, values and origins with").fill("max_chars")
    values = page.get_by_role("table", name="Values in force")
    await expect(values.get_by_role("row", name=re.compile(r"routes\[0\].message.max_chars"))).to_contain_text("1000")


async def test_a_rejected_reload_is_seen_at_once(visit: Visit, deployment: Deployment) -> None:
    page, written = visit.page, deployment.policy.read_text()
    try:
        deployment.policy.write_text(written + "surprise: 1\n")
        await deployment.front.reload()
        await page.reload()
        await page.goto(deployment.link())
        attention = page.get_by_role("list", name="What needs attention")
        await expect(attention).to_contain_text("A newer policy was rejected; the old one is in force.")
        await attention.get_by_role("link", name="See why").click()
        await expect(page.get_by_role("listitem").filter(has_text="surprise").first).to_be_visible()
        reloads = page.get_by_role("table", name="The latest policies that were tried")
        await expect(reloads.get_by_role("row").nth(1)).to_contain_text("rejected")
    finally:
        deployment.policy.write_text(written)
        await deployment.front.reload()


async def test_explain_as_a_form(visit: Visit) -> None:
    page = visit.page
    await visit.open("Explain")
    await page.get_by_label("Client's address").fill("198.51.100.200")
    await page.get_by_label("Body").fill(json.dumps({"message": "x" * 1500}))
    await page.get_by_role("button", name="Explain", exact=True).click()
    await expect(
        page.get_by_role("heading", name="It would be refused by message: 400 MESSAGE_TOO_LONG")
    ).to_be_visible()
    guards = page.get_by_role("table", name="Decisions of the guards, in order")
    await expect(guards.get_by_role("row").last).to_contain_text("policy.yaml:")
    await page.get_by_label("Headers").fill("no colon here")
    await page.get_by_role("button", name="Explain", exact=True).click()
    await expect(page.get_by_role("alert").filter(has_text="is no header line")).to_be_visible()
    assert "1500" not in page.url
    assert "xxx" not in page.url


async def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit.page
    await page.keyboard.press("g")
    await page.keyboard.press("p")
    await expect(page.get_by_role("heading", level=1, name="Policy")).to_be_visible()
    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    await expect(dialog).to_contain_text("look for a request id")
    assert await violations(page) == []
    await dialog.get_by_label("Keyboard shortcuts are on").uncheck()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await page.keyboard.press("g")
    await page.keyboard.press("o")
    await expect(page.get_by_role("heading", level=1, name="Policy")).to_be_visible()
    await page.get_by_role("link", name="Skip to content").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()


async def test_the_navigation_on_a_phone(visit: Visit) -> None:
    page = visit.page
    await visit.look("light-390")
    link = page.get_by_role("link", name="Explain", exact=True)
    await expect(link).to_be_hidden()
    await page.get_by_role("button", name="Menu").click()
    assert await violations(page) == []
    await link.click()
    await expect(page.get_by_role("heading", level=1, name="Explain")).to_be_visible()
    await expect(link).to_be_hidden()


async def test_a_phone_shows_two_filters_and_all_of_them_when_asked(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    await visit.look("light-390")
    await page.goto(f"{deployment.base}/console/#/events")
    outcome = page.get_by_label("Outcome")
    await expect(page.get_by_label("Client", exact=True)).to_be_visible()
    await expect(outcome).to_be_hidden()
    await page.get_by_role("button", name="More filters").click()
    await outcome.select_option("refused")
    await page.reload()
    await page.goto(deployment.link() + "&view=events")
    await page.goto(f"{deployment.base}/console/#/events?outcome=refused")
    await expect(outcome).to_be_visible()


async def test_a_token_of_one_organization_sees_its_own_views(browser: Browser, deployment: Deployment) -> None:
    page = await browser.new_page()
    await page.goto(deployment.link(Role.VIEWER, "acme"))
    await expect(page.get_by_role("heading", level=1, name="Events")).to_be_visible()
    await page.goto(f"{deployment.base}/console/#/overview")
    await expect(page.get_by_text("This takes a token for all organizations; yours is for acme.")).to_be_visible()
    await page.close()


async def test_a_sidecar_that_is_gone_is_said_and_nothing_is_lost(visit: Visit, deployment: Deployment) -> None:
    page = visit.page
    await page.clock.install()
    await page.reload()
    await page.goto(deployment.link())
    await expect(
        page.get_by_role("table", name="Refusals in the last hour").get_by_role("cell", name="RATE_LIMIT_EXCEEDED")
    ).to_be_visible()
    await page.route("**/api/overview", lambda route: route.abort())
    await page.clock.run_for(11_000)
    await expect(page.get_by_text("Not up to date: The sidecar cannot be reached")).to_be_visible()
    await expect(
        page.get_by_role("table", name="Refusals in the last hour").get_by_role("cell", name="RATE_LIMIT_EXCEEDED")
    ).to_be_visible()
    await page.unroute("**/api/overview")
    await page.clock.run_for(50_000)
    await expect(page.get_by_text("Not up to date")).to_have_count(0)
    visit.complaints = [text for text in visit.complaints if "ERR_FAILED" not in text]
