"""What the tests of real chat systems share: a browser, a model stand-in, and each system, started once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.backends.parrot import parrot
from tests.backends.systems import Backend, System, need_system
from tests.support.browser import chromium

Start = Callable[[System], "asyncio.Future[str]"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    # Pages that the tests answer themselves count as public ones, which may not speak to this machine.
    async with chromium("--disable-features=LocalNetworkAccessChecks") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def start(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Start]:
    """Give the URL of a system that runs as long as the tests do; it is started when it is asked for first."""
    urls: dict[tuple[str, ...], str] = {}
    with contextlib.ExitStack() as stack:
        async with parrot() as model:

            async def url_of(system: System) -> str:
                one = (system.name, *system.program, *system.env.values())
                if one not in urls:
                    need_system(system.name)
                    backend = Backend(system, tmp_path_factory.mktemp(system.name), model)
                    stack.callback(backend.close)
                    urls[one] = await asyncio.to_thread(lambda: backend.url)
                return urls[one]

            yield url_of
