"""A running management listener and a client for it."""

from __future__ import annotations

import aiohttp
import pytest

from tests.support.management import management


@pytest.fixture
async def panel():
    async with management() as running:
        yield running


@pytest.fixture
async def client(panel):
    async with aiohttp.ClientSession(panel.base) as session:
        yield session
