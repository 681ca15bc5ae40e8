"""The watch: from the records of requests to events, on a clock that the test turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from sidecar.anomalies import watch as limits
from sidecar.anomalies.usage import Rule
from sidecar.anomalies.watch import UsageWatch, network_of
from sidecar.errors import StoreUnavailable
from sidecar.events import Served
from sidecar.exchange import TokensUsed
from sidecar.telemetry.fanout import Fanout
from sidecar.vocabulary import Event, Outcome
from sidecar.waiting_records import WAITING
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder

DAYS = 7


def served(
    organization: str = "acme",
    *,
    status: int = 200,
    ip: str = "203.0.113.9",
    session: str = "",
    tokens: int = 0,
    model: str = "gpt-4o-mini",
) -> Served:
    made = Served(0.0, "r", ip, organization, session, "chat", "POST", "/api/chat", status, 0.1, 0.1, 0.1, 1, 1)
    return made._replace(usage=TokensUsed(model, tokens // 2, tokens - tokens // 2)) if tokens else made


@dataclass
class Stage:
    clock: FakeClock = field(default_factory=FakeClock)
    recorder: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.fanout = Fanout([self.recorder])
        self.watch = UsageWatch(self.clock, self.fanout)

    def minute(self, *requests: Served) -> None:
        """Let one minute pass in which these requests end."""
        for each in requests:
            self.fanout.served(each)
        self.watch.count()
        self.clock.advance(60)
        self.watch.look()

    def told(self) -> list[dict[str, Any]]:
        events = [event for event in self.recorder.events if event.event is Event.USAGE_ANOMALY]
        assert {event.outcome for event in events} <= {Outcome.OBSERVED}
        return [{"organization": event.organization, "session": event.session, **event.detail} for event in events]


@pytest.fixture
async def stage() -> Any:
    made = Stage()
    made.watch.use(Rule())
    yield made
    await made.watch.close()


def usual_week(stage: Stage) -> None:
    for minute in range(DAYS * 24 * 60):
        if minute % 2 == 0:
            stage.minute(served(tokens=800), served("globex"))
        else:
            stage.minute(served(tokens=800))
    assert stage.told() == []


async def test_a_theft_is_told_of_once_an_hour_with_its_figures(stage: Stage) -> None:
    usual_week(stage)
    for _ in range(59):
        stage.minute(*[served(tokens=800)] * 10, served("globex"))
    (told,) = stage.told()
    assert told == {
        "organization": "acme",
        "session": "",
        "subject": "organization",
        "unusual": ["requests"],
        "requests": told["requests"],
        "requests_usual": 15.0,
    }
    assert told["requests"] >= 60
    for _ in range(30):
        stage.minute(*[served(tokens=800)] * 10)
    assert len(stage.told()) == 2


async def test_refusals_networks_and_a_new_model(stage: Stage) -> None:
    usual_week(stage)
    refused = [served(status=401, ip=f"198.51.{number}.7") for number in range(40)]
    stage.minute(*refused, *[served(tokens=40_000, model="o9-pro")] * 6)
    (told,) = stage.told()
    assert told["unusual"] == ["tokens", "refusals", "networks", "models"]
    assert told["models"] == ["o9-pro"]
    assert (told["refusals"], told["networks"], told["tokens"]) == (40, 41, 14 * 800 + 240_000)


async def test_what_is_not_found_or_left_is_no_refusal(stage: Stage) -> None:
    usual_week(stage)
    stage.minute(*[served(status=status) for status in (404, 499, 500, 502) for _ in range(10)])
    assert stage.told() == []


async def test_a_session_that_is_unlike_all_others_is_told_of_once(stage: Stage) -> None:
    for number in range(400):
        stage.minute(*[served("", session="")], *[served(session=f"{number:08x}")] * 3)
    for _ in range(20):
        stage.minute(*[served(session="feedbeef", ip=f"198.51.{host}.7") for host in range(12)])
        stage.minute(*[served(session="beefcafe")] * 20)
    assert [(told["subject"], told["session"], told["organization"], told["unusual"]) for told in stage.told()] == [
        ("session", "feedbeef", "acme", ["networks"]),
        ("session", "beefcafe", "acme", ["requests"]),
    ]


class Histories:
    """A UsageStore in a dict; `away` is Redis."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.away = False

    async def load(self, organization: str) -> bytes | None:
        self._answer()
        return self.kept.get(organization)

    async def save(self, histories: Mapping[str, bytes]) -> None:
        self._answer()
        self.kept |= histories

    async def forget(self, organization: str) -> None:
        self._answer()
        self.kept.pop(organization, None)

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


async def test_a_history_is_kept_restored_and_forgotten(stage: Stage) -> None:
    usual_week(stage)
    store = Histories()
    for name in ("acme", "globex"):
        stage.watch._organizations[name].restored = True
    await stage.watch._save(store)
    assert set(store.kept) == {"acme", "globex"}

    anew = Stage(stage.clock)
    anew.watch = UsageWatch(anew.clock, anew.fanout, store)
    anew.watch.use(Rule())
    store.away = True
    anew.minute(served())
    with pytest.raises(StoreUnavailable):
        await anew.watch._restore(store)
    store.away = False
    await anew.watch._save(store)  # its history was not looked for yet: what is kept must not be lost
    await anew.watch._restore(store)
    for _ in range(10):
        anew.minute(*[served(tokens=800)] * 10)
    (told,) = anew.told()
    assert told["organization"] == "acme"

    anew.watch.forget("acme")
    await anew.watch._restore(store)
    assert set(store.kept) == {"globex"}
    assert "acme" not in anew.watch._organizations
    await anew.watch.close()


async def test_every_table_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ORGANIZATIONS", 10)
    monkeypatch.setattr(limits, "SESSIONS", 10)
    for number in range(WAITING + 5):
        stage.fanout.served(served(f"o{number}", session=f"{number}", ip=f"10.{number % 256}.{number >> 8}.1"))
    assert len(stage.watch._waiting) == WAITING
    stage.minute()
    assert len(stage.watch._organizations) == 10
    assert len(stage.watch._sessions) == 10
    assert stage.told() == []


async def test_off_costs_nothing_and_forgets(stage: Stage) -> None:
    stage.minute(served())
    stage.watch.use(None)
    assert stage.fanout._served == (stage.recorder.served,)
    stage.fanout.served(served())
    assert (len(stage.watch._waiting), len(stage.watch._organizations)) == (0, 0)
    stage.watch.use(Rule())
    stage.watch.use(Rule(factor=9.0))  # a reload: it follows once
    assert len(stage.fanout._served) == 2


@pytest.mark.parametrize(
    ("address", "network"),
    [
        pytest.param("203.0.113.9", "203.0.113", id="a /24"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2", id="a /64"),
        pytest.param("2001:db8::1", "2001:db8", id="a short one"),
        pytest.param("", "", id="a Unix socket"),
    ],
)
def test_the_network_of_an_address(address: str, network: str) -> None:
    assert network_of(address) == network
