"""Histories of usage in a real Redis."""

from __future__ import annotations

import pytest

from sidecar.clock import SystemClock
from sidecar.errors import StoreUnavailable
from sidecar.secret import Secret
from sidecar.stores.factory import open_stores
from tests.support.exchanges import Recorder
from tests.support.redis import redis_server


async def test_histories_are_saved_loaded_and_forgotten() -> None:
    with redis_server() as server:
        stores = open_stores(Secret(server.url), clock=SystemClock(), events=Recorder())
        await stores.start()
        usage = stores.usage
        assert usage is not None
        histories = {f"org {number}": bytes([number]) * 4096 for number in range(50)}
        await usage.save(histories)
        assert {name: await usage.load(name) for name in histories} == histories
        assert 29 * 86_400 < int(server.cli("ttl", "sidecar:usage:org 7")) <= 30 * 86_400
        await usage.forget("org 7")
        assert await usage.load("org 7") is None
        server.kill()
        with pytest.raises(StoreUnavailable):
            await usage.load("org 8")
        await stores.close()


def test_memory_keeps_none() -> None:
    assert open_stores(None, clock=SystemClock(), events=Recorder()).usage is None
