"""Open WebUI with accounts behind the sidecar: people sign up, sign out and sign in, and chat."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.backends.conftest import Start
from tests.backends.front import front
from tests.backends.systems import WITH_ACCOUNTS
from tests.backends.visit import visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "a <b>password</b> that arrives as typed"


async def test_people_sign_up_and_sign_in(browser: Browser, start: Start, tmp_path: Path):
    page = WITH_ACCOUNTS.page
    assert page is not None
    with front(tmp_path, await start(WITH_ACCOUNTS), "open-webui") as running:
        url = f"http://127.0.0.1:{running.public}"
        async with visiting(browser, page, url) as visit:
            tab = visit.tab
            await visit.begin()
            await tab.get_by_text("Get started").click()
            await tab.locator("#name").fill("Ann")
            await tab.locator("#email").fill("ann@example.com")
            await tab.locator("#password").fill(PASSWORD)
            await tab.locator("button[type=submit]").click()
            await visit.ask("first question")
        async with visiting(browser, page, url) as visit:
            tab = visit.tab
            await visit.begin()
            await tab.locator("#email").fill("ann@example.com")
            await tab.locator("#password").fill(PASSWORD)
            await visit.shot("open-webui-sign-in")
            await tab.locator("button[type=submit]").click()
            await tab.get_by_text("first question").first.wait_for()
            await visit.ask("another question")
            await visit.shot("open-webui-signed-in")
        refused = [line for line in running.lines() if line.get("outcome") == "refused" and line["event"]]
        assert [(line["event"], line["method"], line["path"], line["status"]) for line in refused] == []
