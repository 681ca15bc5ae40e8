"""The ledger: from the summaries of requests to sums by day, over a store that may be away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.events import Served
from sidecar.exchange import TokensUsed
from sidecar.telemetry import cost_ledger
from sidecar.telemetry.cost_ledger import CostLedger
from sidecar.telemetry.fanout import Fanout
from sidecar.vault.costs import Cost, DayAndOrganization
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder

TODAY, YESTERDAY = "2027-01-15", "2027-01-14"  # of FakeClock
DAY = 86_400.0


@dataclass
class FakeStore:
    """Sums that are added up, while the store is there."""

    sums: dict[DayAndOrganization, Cost] = field(default_factory=dict)
    oldest: str = ""
    writes: int = 0
    is_away: bool = False

    async def add(self, costs: Mapping[DayAndOrganization, Cost], oldest: str) -> None:
        if self.is_away:
            raise StoreUnavailable("the database does not answer")
        self.writes, self.oldest = self.writes + 1, oldest
        for key, cost in costs.items():
            self.sums.setdefault(key, Cost()).add(cost)

    async def read(self, since: str, organization: str | None, most: int) -> dict[DayAndOrganization, Cost]:
        found = {}
        for key, cost in self.sums.items():
            if key[0] >= since and organization in (None, key[1]):
                found[key] = Cost()
                found[key].add(cost)
        return found

    async def forget(self, organization: str) -> int:
        gone = [key for key in self.sums if key[1] == organization]
        for key in gone:
            del self.sums[key]
        return len(gone)


class Stage:
    def __init__(self, store: FakeStore | None) -> None:
        self.clock, self.store = FakeClock(), store
        self.fanout = Fanout([Recorder()])
        self.ledger = CostLedger(self.clock, self.fanout, store)
        self.ledger.start()

    def serve(
        self, organization: str = "acme", cost: int | None = 1000, *, ago: float = 0.0, usage: bool = True
    ) -> None:
        at = self.clock.now() - ago
        made = Served(at, "r", "203.0.113.9", organization, "", "chat", "POST", "/", 200, 0.1, 0.1, 0.1, 1, 1)
        self.fanout.served(made._replace(usage=TokensUsed("m", 10, 5, cost)) if usage else made)

    async def report(self, days: int = 31, organization: str | None = None) -> dict[DayAndOrganization, Cost]:
        return dict((await self.ledger.report(days, organization, 100)).costs)


@pytest.fixture(params=["memory", "store"])
async def stage(request: pytest.FixtureRequest) -> object:
    made = Stage(FakeStore() if request.param == "store" else None)
    yield made
    await made.ledger.close()


async def test_requests_with_usage_are_added_up_by_day_and_organization(stage: Stage) -> None:
    stage.serve()
    stage.serve(cost=None)
    stage.serve(ago=DAY)
    stage.serve("other")
    stage.serve(usage=False)
    expected = {
        (TODAY, "acme"): Cost(2, 20, 10, 1000, 15),
        (TODAY, "other"): Cost(1, 10, 5, 1000, 0),
        (YESTERDAY, "acme"): Cost(1, 10, 5, 1000, 0),
    }
    assert await stage.report() == expected
    await stage.ledger.write()
    assert await stage.report() == expected, "written or not, each is counted once"
    stage.serve()
    assert (await stage.report(1, "acme")) == {(TODAY, "acme"): Cost(3, 30, 15, 2000, 15)}
    assert (await stage.ledger.report(31, None, 9)).stored is (stage.store is not None)


async def test_days_have_a_bound(stage: Stage) -> None:
    stage.serve()
    stage.ledger.count()
    await stage.ledger.write()
    stage.clock.advance(30 * DAY)
    assert len(await stage.report()) == 1
    stage.clock.advance(DAY)
    assert await stage.report() == {}
    stage.serve()
    stage.ledger.count()
    await stage.ledger.write()
    if stage.store is None:
        assert len(stage.ledger._sums) == 1
    else:
        assert stage.store.oldest == "2027-01-16"


async def test_organizations_have_a_bound(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_ledger, "MAX_ORGANIZATIONS", 3)
    for number in range(10):
        stage.serve(f"org-{number}")
    stage.serve("bad\0name")
    found = await stage.report()
    assert len(found) == 4
    assert found[TODAY, ""].requests == 8


async def test_what_is_not_written_yet_joins_those_that_cost_most(stage: Stage) -> None:
    for number in range(5):
        stage.serve(f"org-{number}", cost=number)
    found = (await stage.ledger.report(31, None, 2)).costs
    assert {name: cost.nano for (_, name), cost in found.items()} == {"org-4": 4, "org-3": 3, "": 3}


async def test_an_erased_organization_is_forgotten(stage: Stage) -> None:
    stage.serve()
    stage.ledger.count()
    await stage.ledger.write()
    stage.serve()
    stage.serve("other")
    assert await stage.ledger.forget("acme") == 1
    assert [name for _, name in await stage.report()] == ["other"]


async def test_what_could_not_be_written_is_written_later() -> None:
    store = FakeStore(is_away=True)
    stage = Stage(store)
    stage.serve()
    stage.ledger.count()
    with pytest.raises(StoreUnavailable):
        await stage.ledger.write()
    stage.serve()
    stage.ledger.count()
    store.is_away = False
    await stage.ledger.write()
    assert store.sums == {(TODAY, "acme"): Cost(2, 20, 10, 2000, 0)}
    await stage.ledger.write()
    assert store.writes == 1, "nothing new: nothing is written"
    stage.serve()
    await stage.ledger.close()
    assert store.sums[TODAY, "acme"].requests == 3, "the end writes what waited"
    stage.serve()
    assert not stage.ledger._waiting, "it follows no more"
