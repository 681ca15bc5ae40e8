"""What the background of the shared stores asks of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sidecar.clock import SystemClock
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.secret import Secret
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.memory_budgets import MemoryBudgets
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.redis_connection import Command, words
from sidecar.stores.redis_stores import SharedStores
from tests.support.exchanges import Recorder
from tests.support.redis import redis_server


def shared(url: str, heard: list[Revoked]) -> SharedStores:
    return SharedStores(
        Secret(url), SystemClock(), Recorder(), mirror=MemoryRateStore(), budgets=MemoryBudgets(), bans=MemoryBanStore(),
        per_client=100, prefix="sidecar", timeout=1.0, heard=heard.append, hurry=lambda: None,
    )  # fmt: skip


async def test_a_round_in_which_nothing_happens_is_one_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU of an idle sidecar goes by how often it is woken."""
    with redis_server() as server:
        heard: list[Revoked] = []
        one, two = shared(server.url, []), shared(server.url, heard)
        for stores in (one, two):
            await stores.round()
        asked: list[list[str]] = []
        submit = two._wire.submit

        def counted(commands: Sequence[Command], *args: Any, **options: Any) -> Any:
            asked.append([str(words(command)[0]) for command in commands])
            return submit(commands, *args, **options)

        monkeypatch.setattr(two._wire, "submit", counted)
        for _ in range(3):
            await two.round()
        assert asked == [["EVALSHA", "XRANGE", "XRANGE"]] * 3

        revoked = Revoked(SubjectKind.SESSION, "f" * 64, Cause.ENDED, "acme")
        one.revocations.tell(revoked)
        await one.bans.ban("203.0.113.9", SystemClock().now() + 60, "by hand")
        await one.round()
        asked.clear()
        await two.round()
        assert heard == [revoked]
        assert two.bans.banned("203.0.113.9", SystemClock().now()) > 0
        assert len(asked) == 1, "what other replicas say comes with it"
        for stores in (one, two):
            await stores.close()
