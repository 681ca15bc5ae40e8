"""The operator's tasks in the console, each from its first click to its effect: a real sidecar, a real vault, Chromium."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from sidecar.admin.jwt import make_token
from sidecar.admin.roles import Role
from sidecar.secret import Secret
from sidecar.session import key_of
from tests.support.accessibility import violations
from tests.support.backends import Serving, answer
from tests.support.browser import chromium
from tests.support.browsers import ELSEWHERE, HOME
from tests.support.browsers import Browser as Client
from tests.support.egress import ACME_KEY, GLOBEX_KEY, Outbound
from tests.support.language_model import language_model
from tests.support.processes import free_port
from tests.support.raw import Message, Raw, get, post
from tests.support.sidecar import MASTER, TRUSTED, threaded

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "a secret for tokens, long enough to be one"
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nd\r\ndata: begun\n\n\r\n"
)
"""The beginning of an answer that goes on until it is ended."""
SHOTS = os.environ.get("SCREENSHOTS", "")
"""A folder for screenshots of the views of these tests."""
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
THIRD = "203.0.113.77"
"""An address of which no other test uses up the limits."""
SECTIONS = {
    "clients": {"ban": {"strikes": 3}},
    "sessions": {"mode": "issue"},
    "organizations": {"from": ["header"]},
    "rate_limits": [
        {"name": "ip-minute", "per": "ip", "limit": 60, "window": "1m"},
        {"name": "ip-hour", "per": "ip", "limit": 1000, "window": "1h"},
        {"name": "session-burst", "per": "session", "limit": 10, "window": "10s"},
    ],
    "budgets": [
        {"name": "org-day", "per": "organization", "limit": "20k tokens"},
        {"name": "org-month", "per": "organization", "limit": "50 USD", "window": "30d", "on_end": "finish"},
    ],
    "routes": [{"name": "chat", "match": {"path": "/chat"}, "message": {"fields": ["$.message"]}}],
}


@dataclass
class Stage:
    out: Outbound

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.out.running.management}"

    def token(self, role: str, organization: str = "*") -> str:
        return make_token(
            Secret(SECRET), Role[role.upper()], now=time.time(), ttl=600, organization=organization, subject="ann"
        )

    def manage(self, method: str, path: str, body: object) -> None:
        fields = {"Authorization": f"Bearer {self.token('admin')}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), fields, method=method)
        urllib.request.urlopen(request, timeout=20).close()

    def session(self, address: str, organization: str) -> str:
        client = Client(self.out.running, address, headers={"X-Org-ID": organization})
        made: str = client.ask("POST", "/api/session").json()["sessionId"]
        return made

    def stream(self, address: str, organization: str, session: str) -> Raw:
        """Open an answer that runs until it is ended."""
        client = self.out.running.connect(TRUSTED)
        lines = (f"X-Forwarded-For: {address}", f"X-Org-ID: {organization}", f"X-Session-ID: {session}")
        client.send(get("/stream", *lines))
        assert client.head().status == 200
        assert client.chunk() == b"data: begun\n\n"
        return client

    def use_model(self, organization: str, times: int = 1) -> None:
        """Ask the provider through the egress listener, as a backend does."""
        token, handle = self.out.handle(organization)
        body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi " * 300}]}).encode()
        for _ in range(times):
            with self.out.connect() as client:
                asked = post("/openai/v1/chat/completions", body, f"Authorization: Bearer {token}", host="127.0.0.1:1")
                assert client.send(asked).response().status == 200
        self.out.revoke(organization, handle)


def reply(request: Message) -> bytes:
    return STREAM if request.start.split()[1] == b"/stream" else answer()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("tasks")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        backend = stack.enter_context(Serving(reply))
        model = stack.enter_context(language_model(folder, ACME_KEY, GLOBEX_KEY))
        patch.setenv("SSL_CERT_FILE", str(model.ca))
        port = free_port()
        spoken = {"url": model.url, "allow": ["/v1/*"], "tls": {"ca": str(model.ca)}}
        environ = {
            "JWT_SECRET": SECRET,
            "ENCRYPTION_KEY": MASTER,
            "DATABASE_URL": f"sqlite:///{folder}/vault.db",
        }
        running = stack.enter_context(
            threaded(
                folder,
                backend.url,
                environ,
                listen={"egress": {"address": f"127.0.0.1:{port}"}},
                egress={"providers": {"openai": spoken}},
                **SECTIONS,
            )
        )
        out = Outbound(running, port, model)
        out.add_key("acme", ACME_KEY)
        out.add_key("globex", GLOBEX_KEY)
        yield Stage(out)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


class Console:
    """The console in a page, and everything that the browser complained of."""

    def __init__(self, page: Page, stage: Stage) -> None:
        self.page = page
        self.stage = stage
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, view: str, role: str = "admin", organization: str = "*") -> Page:
        """Sign in by a link, as `make demo` prints one, and open a view."""
        token = self.stage.token(role, organization)
        await self.page.goto("about:blank")
        await self.page.goto(f"{self.stage.base}/console/#token={token}&view={view}")
        await expect(self.page.locator(f"#panel.view-{view}")).to_be_visible()
        return self.page

    async def is_fine(self, name: str) -> None:
        """Hold what is shown against the rules for accessibility, and against the width of a phone."""
        assert await violations(self.page) == []
        await self.page.set_viewport_size({"width": 390, "height": 844})
        assert await self.page.evaluate("document.documentElement.scrollWidth") <= 390
        await self.page.set_viewport_size({"width": 1280, "height": 800})
        if SHOTS:
            await self._shots(name)

    async def _shots(self, name: str) -> None:
        for size, (width, height) in SIZES.items():
            await self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                await self.page.screenshot(path=f"{SHOTS}/{name}-{size}-{scheme}.png", full_page="dialog" not in name)
        await self.page.emulate_media(color_scheme="light")
        await self.page.set_viewport_size({"width": 1280, "height": 800})

    async def said(self, text: str) -> None:
        """Wait for a short message."""
        await expect(self.page.locator("#toasts").get_by_text(text)).to_be_visible()

    async def click(self, name: str, *, exact: bool = True) -> None:
        await self.page.get_by_role("button", name=name, exact=exact).click()


@pytest_asyncio.fixture(loop_scope="module")
async def console(browser: Browser, stage: Stage) -> AsyncIterator[Console]:
    context = await browser.new_context(
        viewport={"width": 1280, "height": 800}, locale="en-GB", reduced_motion="reduce"
    )
    made = Console(await context.new_page(), stage)
    yield made
    await context.close()
    assert made.complaints == []


def rows(page: Page, caption: str) -> Locator:
    return page.get_by_role("table", name=caption).locator("tbody tr")


async def test_limits_are_looked_up_and_emptied(console: Console, stage: Stage) -> None:
    page = await console.open("limits")
    for _ in range(3):
        with stage.out.running.connect(TRUSTED) as raw:
            raw.send(post("/chat", b'{"message": "hi"}', f"X-Forwarded-For: {HOME}"))
            assert raw.response().status == 200
    await page.get_by_label("Name").fill(HOME)
    await page.keyboard.press("Enter")
    windows = rows(page, f"Windows of ip {HOME}")
    await expect(windows.first).to_contain_text("3 of 60")
    await expect(windows.nth(1)).to_contain_text("3 of 1,000")
    await console.is_fine("limits")
    await console.click("Empty the windows")
    dialog = page.get_by_role("dialog", name="Empty these windows?")
    await expect(dialog).to_contain_text(HOME)
    await console.is_fine("limits-dialog")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(windows.first).to_contain_text("3 of 60")
    await console.click("Empty the windows")
    await dialog.get_by_role("button", name="Empty the windows").click()
    await console.said(f"The windows of ip {HOME} are empty.")
    await expect(windows.first).to_contain_text("0 of 60")
    assert f"key={HOME}" in page.url


async def test_a_session_is_looked_up_by_its_id_which_stays_nowhere(console: Console, stage: Stage) -> None:
    session = stage.session(HOME, "acme")
    page = await console.open("limits", "viewer")
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    await page.get_by_label("Of", exact=True).select_option("session")
    await page.get_by_label("Name").fill(session)
    await console.click("Look up")
    await expect(page.get_by_role("heading", name=f"Windows of session {key_of(session)}")).to_be_visible()
    assert await page.get_by_label("Name").input_value() == key_of(session)
    assert not any(session in url for url in [*urls, page.url])
    await expect(page.get_by_role("button", name="Empty the windows")).to_have_count(0)
    await expect(page.get_by_text("takes a token of the role operator; yours is viewer")).to_be_visible()


async def test_a_look_up_that_fails_says_so_beside_the_form(console: Console) -> None:
    page = await console.open("limits")
    await page.get_by_label("Name").fill("not an address")
    await console.click("Look up")
    form = page.get_by_role("form", name="Look up windows")
    await expect(form.get_by_role("alert")).to_have_text("this is no IP address")
    await page.get_by_label("Of", exact=True).select_option("session")
    await page.get_by_label("Name").fill("deadbeef")
    await console.click("Look up")
    await expect(form.get_by_role("alert")).to_have_text("There is no such session.")
    await page.get_by_label("Name").fill(f"ip:{HOME}")
    await console.click("Look up")
    await expect(rows(page, f"Windows of session ip:{HOME}")).to_have_count(1)
    await page.get_by_label("Of", exact=True).select_option("global")
    await expect(page.get_by_label("Name")).to_have_value("all")
    await console.click("Look up")
    await expect(page.get_by_text("The policy has no limit per global.")).to_be_visible()
    console.complaints.clear()  # Chromium reports each answer above 399


async def test_a_budget_is_looked_up_and_reset(console: Console, stage: Stage) -> None:
    stage.use_model("acme", 3)
    page = await console.open("budgets", "operator")
    await page.get_by_label("Name").fill("acme")
    await console.click("Look up")
    budgets = rows(page, "Budgets of organization acme")
    await expect(budgets.first).to_contain_text(re.compile(r"2,\d\d\d of 20,000"))
    await expect(budgets.nth(1)).to_contain_text("$50.00")
    await console.is_fine("budgets")
    await console.click("Reset org-day")
    dialog = page.get_by_role("dialog", name="Forget what was used of org-day?")
    await dialog.get_by_role("button", name="Forget what was used").click()
    await console.said("org-day is whole again for organization acme.")
    await expect(budgets.first).to_contain_text("0 of 20,000")
    await expect(budgets.nth(1)).not_to_contain_text("$0.00 of")
    page = await console.open("budgets", "viewer", "globex")
    await expect(rows(page, "Budgets of organization globex")).to_have_count(2)
    await expect(page.get_by_role("button", name="Reset")).to_have_count(0)


async def test_a_ban_says_why_and_is_lifted_and_one_is_added(console: Console, stage: Stage) -> None:
    for _ in range(3):
        with stage.out.running.connect(TRUSTED) as raw:
            raw.send(post("/chat", b"{", f"X-Forwarded-For: {ELSEWHERE}"))
            assert raw.response().status == 400
    page = await console.open("bans", "operator")
    bans = rows(page, "Bans")
    await expect(bans.first).to_contain_text("3 strikes")
    await expect(bans.first).to_contain_text("MESSAGE_INVALID × 3")
    await expect(bans.first.locator(".ids").get_by_role("link")).to_have_count(3)

    await console.click("Ban an address")
    dialog = page.get_by_role("dialog", name="Ban an address")
    await dialog.get_by_label("Address").fill("no address")
    await dialog.get_by_label("Reason").fill("Tries keys")
    await dialog.get_by_role("button", name="Ban it").click()
    await expect(dialog.get_by_role("alert")).to_have_text("this is no IP address")
    console.complaints.clear()
    await console.is_fine("bans-dialog")
    await dialog.get_by_label("Address").fill("192.0.2.44")
    await dialog.get_by_label("For").select_option("1 day")
    await dialog.get_by_role("button", name="Ban it").click()
    await console.said("192.0.2.44 is banned.")
    await expect(bans).to_have_count(2)
    await expect(bans.nth(1)).to_contain_text("Tries keys")
    await console.is_fine("bans")

    for address in (ELSEWHERE, "192.0.2.44"):
        await console.click(f"Lift the ban of {address}")
        await page.get_by_role("dialog").get_by_role("button", name="Lift the ban").click()
        await console.said(f"The ban of {address} is lifted.")
    await expect(page.get_by_text("No address is banned.")).to_be_visible()
    with stage.out.running.connect(TRUSTED) as raw:
        raw.send(post("/chat", b'{"message": "hi"}', f"X-Forwarded-For: {ELSEWHERE}"))
        assert raw.response().status == 200


async def test_a_ban_is_lifted_by_the_keyboard_alone(console: Console, stage: Stage) -> None:
    stage.manage("POST", "/api/bans", {"ip": "192.0.2.45"})
    page = await console.open("overview", "operator")
    await page.keyboard.press("g")
    await page.keyboard.press("b")
    await expect(page.get_by_role("heading", level=1, name="Bans")).to_be_focused()
    lift = page.get_by_role("button", name="Lift the ban of 192.0.2.45")
    await lift.wait_for()
    for _ in range(3):
        await page.keyboard.press("Tab")  # "Ban an address", and nothing else before it
        if await lift.evaluate("button => button === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Lift this ban?")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(lift).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await console.said("The ban of 192.0.2.45 is lifted.")
    await expect(page.get_by_role("heading", level=1, name="Bans")).to_be_focused()


VIEWS = {
    "limits": "Emptying windows",
    "budgets": "Resetting a budget",
    "bans": "Adding and lifting bans",
    "sessions": "Ending sessions",
    "credentials": "Adding and changing credentials",
    "handles": "Making and revoking handles",
}


@pytest.mark.parametrize(("view", "what"), VIEWS.items(), ids=VIEWS)
async def test_a_viewer_sees_and_changes_nothing(console: Console, stage: Stage, view: str, what: str) -> None:
    stage.session(HOME, "acme")
    page = await console.open(view, "viewer")
    if view in ("limits", "budgets"):
        await page.get_by_label("Of", exact=True).select_option("ip" if view == "limits" else "organization")
        await page.get_by_label("Name").fill(HOME if view == "limits" else "acme")
        await console.click("Look up")
    await expect(page.get_by_text(f"{what} takes a token of the role")).to_be_visible()
    buttons = await page.locator("#panel button").all_inner_texts()
    assert set(buttons) <= {"Look up", "Find"}


async def test_sessions_are_counted_found_and_ended_with_what_runs(console: Console, stage: Stage) -> None:
    mine, other = stage.session(THIRD, "acme"), stage.session(ELSEWHERE, "globex")
    stage.session(ELSEWHERE, "globex")
    with stage.stream(THIRD, "acme", mine) as ended, stage.stream(ELSEWHERE, "globex", other) as also:
        page = await console.open("sessions", "operator")
        await expect(rows(page, "Sessions by organization").filter(has_text="globex")).to_contain_text("2")
        await page.get_by_label("Session", exact=True).fill(key_of(mine)[:8])
        await console.click("Find")
        found = rows(page, "Sessions that were found")
        await expect(found).to_have_count(1)
        await expect(found).to_contain_text("acme")
        await expect(found).to_contain_text(THIRD)
        await console.is_fine("sessions")
        await console.click(f"End session {key_of(mine)[:8]}")
        await page.get_by_role("dialog").get_by_role("button", name="End the session").click()
        await console.said(f"Session {key_of(mine)[:8]} has ended.")
        assert b"ACCESS_REVOKED" in ended.rest()
        await console.click("End all sessions of globex")
        await page.get_by_role("dialog").get_by_role("button", name="End all sessions").click()
        await console.said("2 sessions of globex have ended.")
        assert b"ACCESS_REVOKED" in also.rest()
    await page.get_by_label("Session", exact=True).fill(mine)
    await console.click("Find")
    await expect(page.get_by_text("There is no such session: it may have ended.")).to_be_visible()
    assert await page.get_by_label("Session", exact=True).input_value() == ""


async def test_a_key_is_added_tested_rotated_edited_and_deleted(console: Console, stage: Stage) -> None:
    model = stage.out.model
    page = await console.open("credentials")
    keys = ["sk-first-0123456789abcdefghijklmnopqrstuv", "sk-second-0123456789abcdefghijklmnopqrstu"]
    await console.click("Add a credential")
    dialog = page.get_by_role("dialog", name="Add a credential")
    await dialog.get_by_label("Organization").fill("initech")
    await dialog.get_by_label("Provider", exact=True).select_option("openai")
    await dialog.get_by_label("Key").fill("nonsense")
    assert await dialog.get_by_label("Key").get_attribute("type") == "password"
    await console.is_fine("credentials-dialog")
    await dialog.get_by_role("button", name="Seal and store it").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("does not look like")
    console.complaints.clear()
    assert await dialog.get_by_label("Key").input_value() == "", "it is not kept"
    await dialog.get_by_label("Hosts").fill(model.host)
    await dialog.get_by_label("Ask the provider first").check()
    await dialog.get_by_label("Key", exact=True).fill(keys[0])
    await dialog.get_by_role("button", name="Seal and store it").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("openai does not accept this key")
    await dialog.get_by_label("Ask the provider first").uncheck()
    await dialog.get_by_label("Key", exact=True).fill(keys[0])
    await dialog.get_by_label("Expires").fill(time.strftime("%Y-%m-%d", time.gmtime(time.time() + 4 * 86_400)))
    await dialog.get_by_role("button", name="Seal and store it").click()
    await console.said(f"openai of initech (default, …{keys[0][-4:]}) is stored.")

    mine = rows(page, "Credentials").filter(has_text="initech")
    await expect(mine).to_contain_text("3 days left")
    await expect(mine).to_contain_text(model.host)
    await console.is_fine("credentials")
    await page.get_by_label("Organization").select_option("initech")
    await expect(rows(page, "Credentials")).to_have_count(1)

    await console.click("Test openai of initech", exact=False)
    dialog = page.get_by_role("dialog", name="Test this key")
    await dialog.get_by_role("button", name="Ask the provider").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("openai does not accept this key")
    await dialog.get_by_role("button", name="Cancel").click()
    model.keys.add(keys[0])
    await console.click("Test openai of initech", exact=False)
    await dialog.get_by_role("button", name="Ask the provider").click()
    await console.said("openai accepts this key")

    await console.click("Rotate openai of initech", exact=False)
    dialog = page.get_by_role("dialog", name="Rotate this key")
    await dialog.get_by_label("New key").fill(keys[1])
    await dialog.get_by_label("Ask the provider first").check()
    await dialog.get_by_label("Expires").fill("")
    await dialog.get_by_role("button", name="Rotate").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("the old key stays")
    model.keys.add(keys[1])
    console.complaints.clear()
    await dialog.get_by_label("New key").fill(keys[1])
    await dialog.get_by_role("button", name="Rotate").click()
    await console.said("The key of openai of initech is rotated.")
    await expect(mine).to_contain_text(f"…{keys[1][-4:]}")
    await expect(mine).to_contain_text("never")

    await console.click("Edit openai of initech", exact=False)
    dialog = page.get_by_role("dialog", name="Edit this credential")
    await dialog.get_by_label("Hosts").fill(f"{model.host}\ngateway.example")
    await dialog.get_by_role("button", name="Save").click()
    await console.said("openai of initech is changed.")
    await expect(mine.get_by_role("button", name="Edit")).to_be_focused()
    await expect(mine).to_contain_text("gateway.example")

    await console.click("Delete openai of initech", exact=False)
    await page.get_by_role("dialog").get_by_role("button", name="Delete the key").click()
    await console.said("The key of openai of initech is deleted.")
    await expect(mine).to_have_count(0)
    content = await page.content()
    assert not any(key in content for key in keys)


async def test_a_handle_is_shown_once_works_and_is_revoked(console: Console, stage: Stage) -> None:
    page = await console.open("handles")
    await console.click("Make a handle")
    dialog = page.get_by_role("dialog", name="Make a handle")
    await dialog.get_by_label("Organization").fill("globex")
    await dialog.get_by_label("Provider", exact=True).select_option("openai")
    await dialog.get_by_label("Name").fill("the new backend")
    await dialog.get_by_role("button", name="Make it").click()
    shown = page.get_by_role("dialog", name="The new handle")
    handle = await shown.get_by_label("The new handle").input_value()
    assert handle.startswith("phk_")
    await console.is_fine("handles-dialog")
    await shown.get_by_role("button", name="Close").click()
    body = json.dumps({"model": "gpt-4o-mini", "messages": []}).encode()
    asked = post("/openai/v1/chat/completions", body, f"Authorization: Bearer {handle}", host="127.0.0.1:1")
    with stage.out.connect() as client:
        assert client.send(asked).response().status == 200
    assert handle not in await page.content()
    mine = rows(page, "Handles").filter(has_text="the new backend")
    await expect(mine).to_contain_text("good")
    await mine.get_by_role("button", name="Revoke").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()
    await expect(mine).to_contain_text("revoked")
    await console.is_fine("handles")
    with stage.out.connect() as client:
        assert client.send(asked).response().status in (401, 403)


async def test_the_audit_log_is_read_and_verified(console: Console, stage: Stage) -> None:
    for _ in range(30):
        stage.out.revoke("acme", stage.out.handle("acme")[1])
    page = await console.open("audit", "viewer")
    entries = rows(page, "Audit log")
    await expect(entries.first).to_contain_text("audit.list")
    await expect(entries).to_have_count(50)
    await console.click("Verify")
    verdict = page.locator(".card")
    await expect(verdict).to_contain_text("Whole")
    await expect(verdict.get_by_text("not proven")).to_have_count(1)
    anchor = await verdict.locator("code").inner_text()
    await page.get_by_label("Anchor (optional)").fill(anchor)
    await console.click("Verify")
    await expect(verdict.get_by_text("not proven")).to_have_count(0)
    await console.is_fine("audit")
    await console.click("Older")
    await expect(page.get_by_role("button", name="Newest")).to_be_visible()
    await page.get_by_label("Organization").fill("globex")
    await console.click("Show")
    await expect(entries.first).to_contain_text("globex")
    await page.get_by_label("Anchor (optional)").fill("nonsense")
    await console.click("Verify")
    await expect(page.get_by_role("form", name="Verify the audit log").get_by_role("alert")).to_contain_text(
        "an anchor is"
    )
    console.complaints.clear()


async def test_costs_are_shown_by_day_and_organization(console: Console, stage: Stage) -> None:
    stage.use_model("globex", 5)
    page = await console.open("costs", "viewer")
    costs = rows(page, "Costs by organization")
    await expect(costs).to_have_count(2)
    await expect(page.get_by_role("img", name=re.compile(r"Cost a day\. \$0\.00\d+  ?in all"))).to_be_visible()
    await page.get_by_label("Of the last").select_option("7 days")
    await page.get_by_text("As a table").click()
    await expect(page.locator("figure tbody tr")).to_have_count(7)
    await console.is_fine("costs")
    await costs.first.get_by_role("link", name="globex").click()
    await expect(rows(page, "Budgets of organization globex")).to_have_count(2)
    page = await console.open("costs", "viewer", "globex")
    await expect(costs).to_have_count(1)
    await expect(costs.first).to_contain_text("globex")
