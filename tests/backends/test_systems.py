"""The systems without the sidecar: they chat, and the tests would see it if markup ran."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser

from tests.backends.conftest import Start
from tests.backends.systems import PANEL
from tests.backends.visit import visiting

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_markup_runs_in_an_unguarded_page(browser: Browser, start: Start):
    assert PANEL.page is not None
    async with visiting(browser, PANEL.page, await start(PANEL)) as visit:
        await visit.open()
        await visit.ask("hello")
        assert await visit.effects() == []
        await visit.send("<img src=x onerror=\"window.__xss='ran'\">")
        for _ in range(150):
            if "ran" in await visit.effects():
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("the payload did not run, or was not seen to")
