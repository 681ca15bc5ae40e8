"""Attacks in pages that show text as it was typed, without the sidecar: nothing runs, as question or as answer.

Docs tell operators of these systems that `markup: keep` is safe there; this is why. The pages are asked for the whole
corpus of tests/vectors, many texts in a message.
"""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.backends.conftest import Start
from tests.backends.markup import ALARM, effects_of, messages
from tests.backends.systems import CHAINLIT, STREAMLIT, System
from tests.backends.visit import visiting
from tests.support.vectors import rows

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("system", [CHAINLIT, STREAMLIT], ids=lambda system: system.name)
async def test_no_attack_has_an_effect_in_a_page_that_shows_text_as_typed(
    browser: Browser, start: Start, system: System
):
    assert system.page is not None
    texts = [row["text"] for row in rows("xss")]
    assert len(texts) > 400
    async with visiting(browser, system.page, await start(system)) as visit:
        await visit.tab.context.add_init_script(ALARM)
        await visit.open()
        assert await effects_of(visit, messages(texts, 80)) == []
