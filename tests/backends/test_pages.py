"""Unmodified chat systems behind the sidecar with three lines of policy, as people in a browser see them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.backends.conftest import Start
from tests.backends.front import TOO_LONG, TOO_MANY, events, forget_limits, front
from tests.backends.systems import PAGES, System
from tests.backends.visit import Visit, visiting
from tests.support.sidecar import Running, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=x onerror=\"window.__xss='ran'\"> and <b>bold</b> to finish"
FINISHED = re.compile(r"You said:.*to finish", re.DOTALL)
SPOKEN = "a question that is long enough to come back in several pieces"
LONG = "this is far too long " * 15


@pytest.fixture(scope="module", params=PAGES)
def system(request: pytest.FixtureRequest) -> System:
    return PAGES[request.param]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(system: System, start: Start) -> str:
    return await start(system)


@pytest.fixture
def guarded(system: System, url: str, tmp_path: Path) -> Iterator[Running]:
    with front(tmp_path, url, system.name) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, system: System, guarded: Running) -> AsyncIterator[Visit]:
    assert system.page is not None
    async with visiting(browser, system.page, f"http://127.0.0.1:{guarded.public}") as opened:
        yield opened


def _looked_at(guarded: Running) -> int:
    return sum(line["detail"]["texts"] for line in events(guarded, "CHAT_MESSAGE_PROCESSED"))


async def _chat(visit: Visit) -> None:
    await visit.open()
    await visit.ask("first question")
    await visit.send(MARKUP)
    await visit.hear(FINISHED)
    await visit.ask("last question")


async def test_loads_for_three_visitors_at_once(browser: Browser, system: System, guarded: Running):
    async def one(number: int) -> None:
        assert system.page is not None
        async with visiting(browser, system.page, f"http://127.0.0.1:{guarded.public}") as visit:
            await visit.open()
            await visit.ask(f"hello from visitor {number}")

    await asyncio.gather(*(one(number) for number in range(3)))
    # A line without an event is that of a request whose page did not wait for its answer.
    refused = [line for line in guarded.lines() if line.get("outcome") == "refused" and line["event"]]
    assert [(line["event"], line["method"], line["path"], line["status"]) for line in refused] == []


async def test_answers_stream_and_markup_is_harmless(visit: Visit, guarded: Running, system: System):
    await visit.open()
    await visit.watch()
    await visit.ask(SPOKEN)
    assert [length for length in await visit.lengths() if 0 < length < len(SPOKEN)], "answered in one piece"
    await visit.send(MARKUP)
    await visit.hear(FINISHED)
    await visit.ask("after the markup")
    await visit.shot(f"{system.name}-markup")
    assert await visit.effects() == []
    assert "src=x onerror" in await visit.text(), "the person no longer sees what was typed"
    # A socket says how many texts were looked at when it ends.
    await visit.tab.close()
    until(lambda: _looked_at(guarded) >= 3, "three texts to be looked at")


async def test_says_nothing_to_the_console_that_it_does_not_say_by_itself(
    browser: Browser, system: System, url: str, visit: Visit
):
    assert system.page is not None
    async with visiting(browser, system.page, url) as bare:
        await _chat(bare)
    await _chat(visit)
    assert visit.complaints - bare.complaints == set()


async def test_too_long_a_message_is_refused_and_the_page_goes_on(visit: Visit, guarded: Running, system: System):
    assert len(LONG) > 300
    await visit.open()
    await visit.ask("first question")
    for _ in range(2):
        await visit.send(LONG)
        await visit.sees(TOO_LONG)
    await visit.shot(f"{system.name}-too-long")
    assert f"You said: {LONG[:30]}" not in await visit.text()
    await visit.ask("next question")
    await visit.ask("last question")
    await visit.shot(f"{system.name}-after")
    for answer in ("first question", "next question", "last question"):
        await visit.finds(f"You said: {answer}")
    assert events(guarded, "MESSAGE_TOO_LONG")


async def test_too_many_messages_are_refused_readably(visit: Visit, guarded: Running, system: System, tmp_path: Path):
    await visit.open()
    await visit.ask("first question")
    await asyncio.to_thread(_post, guarded, 48)
    passed = 0
    for number in range(13):
        before = len(events(guarded, "RATE_LIMIT_EXCEEDED"))
        await visit.send(f"question {number}")
        passed = number
        if await _refused(guarded, before, visit, f"You said: question {number}"):
            break
    else:
        pytest.fail("none of 61 messages was refused")
    assert passed >= 6, "something else was counted than messages"
    await visit.sees(TOO_MANY)
    await visit.shot(f"{system.name}-limited")
    await visit.finds("You said: first question")
    forget_limits(guarded, tmp_path)
    await visit.ask("next question")
    assert not events(guarded, "IP_BANNED")


def _post(guarded: Running, times: int) -> None:
    """Use up most of the minute: each POST counts as a message does, wherever it goes."""
    for _ in range(times):
        with contextlib.closing(guarded.connect()) as raw:
            raw.send(b"POST /no/such/path HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
            assert raw.response().status != 429, "page loads were counted"


async def _refused(guarded: Running, before: int, visit: Visit, answer: str) -> bool:
    """Wait until the message is answered (False) or refused (True)."""
    for _ in range(300):
        if len(events(guarded, "RATE_LIMIT_EXCEEDED")) > before:
            return True
        if answer in await visit.text():
            return False
        await asyncio.sleep(0.1)
    pytest.fail("neither answered nor refused")


async def test_a_file_can_be_uploaded(visit: Visit, system: System, tmp_path: Path):
    assert system.page is not None
    file = tmp_path / "note.txt"
    file.write_text("a note.\n")
    await visit.open()
    await visit.ask("first question")
    await visit.upload(file)
    if system.page.received:
        if not system.page.submit:
            await visit.send("look at this")
        await visit.hear(system.page.received)
    await visit.shot(f"{system.name}-upload")
