"""The policy in force: swapped as a whole or not at all, and told either way."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass

import pytest

from sidecar.errors import ConfigError, PolicyError, Problem
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.live import RELOADS, LivePolicy
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder
from tests.support.policies import BASE, read


@dataclass(frozen=True)
class Compiled:
    document: PolicyDocument


def compiled(text: str) -> Compiled:
    return Compiled(read(text))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def live(recorder: Recorder, clock: FakeClock) -> LivePolicy[Compiled]:
    return LivePolicy(compiled(BASE), recorder, clock)


def test_a_good_policy_is_swapped_in(live: LivePolicy[Compiled], recorder: Recorder, clock: FakeClock) -> None:
    clock.advance(5)
    before = live.current
    assert live.reload(lambda: compiled(BASE + "mode: observe\n")) is None
    assert live.current is not before
    assert live.current.document.schema.mode == "observe"
    assert (live.last_reload_successful, live.last_reload_at) == (True, clock.now())
    assert recorder.names() == ["POLICY_RELOADED"]
    assert recorder.events[0].at == clock.now()
    assert recorder.events[0].detail == {
        "source": "P",
        "digest": live.current.document.digest[:16],
        "changed": True,
        "notes": ["mode: refuses nothing; write enforce when you have seen enough"],
    }


def test_the_latest_reloads_are_remembered(live: LivePolicy[Compiled], clock: FakeClock) -> None:
    def wrong() -> Compiled:
        raise PolicyError("P", [Problem("mode", "is wrong", "", 3, 1)])

    digest = live.current.document.short_digest
    clock.advance(5)
    live.reload(wrong)
    assert [(each.at, each.successful, each.digest, each.problems) for each in live.reloads] == [
        (1_800_000_000.0, True, digest, ()),
        (1_800_000_005.0, False, digest, ("P:3:1: mode: is wrong",)),
    ]
    for _ in range(RELOADS):
        live.reload(lambda: compiled(BASE))
    assert [each.successful for each in live.reloads] == [True] * RELOADS


def test_the_same_policy_is_taken_and_said_to_be_the_same(live: LivePolicy[Compiled], recorder: Recorder) -> None:
    live.reload(lambda: compiled(BASE))
    assert recorder.events[0].detail["changed"] is False


def test_a_bad_policy_changes_nothing(live: LivePolicy[Compiled], recorder: Recorder) -> None:
    before = live.current
    error = live.reload(lambda: compiled(BASE + "mode: x\nunmatched: y\n"))
    assert isinstance(error, PolicyError)
    assert live.current is before
    assert live.last_reload_successful is False
    assert recorder.names() == ["POLICY_REJECTED"]
    assert recorder.events[0].detail == {
        "source": "P",
        "digest_kept": before.document.digest[:16],
        "problems": [
            "P:3:7: mode: is not known here; write enforce or observe",
            "P:4:12: unmatched: is not known here; write proxy or deny",
        ],
        "count": 2,
    }
    live.reload(lambda: compiled(BASE))
    assert live.last_reload_successful is True


def test_what_is_told_is_bounded(live: LivePolicy[Compiled], recorder: Recorder) -> None:
    def many() -> Compiled:
        raise PolicyError("P", [Problem("x", "is wrong", "", 1, 1)] * 500)

    live.reload(many)
    assert len(recorder.events[0].detail["problems"]) == 100
    assert recorder.events[0].detail["count"] == 500


@pytest.mark.parametrize("name", ["x" * 450, "x" * 100_000, "\U0001f600" * 450], ids=["long", "longer", "escaped"])
def test_problems_that_are_long_leave_a_line_that_shows_some(
    live: LivePolicy[Compiled], recorder: Recorder, name: str
) -> None:
    def many() -> Compiled:
        raise PolicyError("P", [Problem(name, "is wrong", "", 1, 1)] * 500)

    live.reload(many)
    assert recorder.events[0].detail["problems"]
    assert len(json.dumps(recorder.events[0].detail)) < 9 * 1024


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (ConfigError("cannot read the policy /x: no such file"), "P:1:1: cannot read the policy /x: no such file"),
        (KeyError("boom"), "P:1:1: could not be compiled (KeyError); report this with the policy"),
    ],
    ids=["unreadable", "a fault of ours"],
)
def test_whatever_goes_wrong_the_old_one_stays(
    live: LivePolicy[Compiled], recorder: Recorder, raised: Exception, line: str
) -> None:
    def broken() -> Compiled:
        raise raised

    before = live.current
    assert live.reload(broken) is not None
    assert live.current is before
    assert recorder.events[0].detail["problems"] == [line]


@pytest.mark.parametrize(
    ("listen", "waiting"),
    [
        ("{ drain: 10s }", "listen.drain changed: listeners keep their addresses until a restart"),
        (
            '{ public: { address: "0.0.0.0:81" }, egress: {} }',
            "listen.public, listen.egress changed: listeners keep their addresses until a restart",
        ),
    ],
)
def test_what_only_a_restart_applies(live: LivePolicy[Compiled], recorder: Recorder, listen: str, waiting: str) -> None:
    live.reload(lambda: compiled(BASE + f"listen: {listen}\n"))
    live.reload(lambda: compiled(BASE + f"listen: {listen}\nmode: observe\n"))
    live.reload(lambda: compiled(BASE))
    # Compared with what listens, not with the policy before.
    assert [event.detail.get("restart_needed") for event in recorder.events] == [waiting, waiting, None]


async def test_compiling_does_not_block_the_loop(live: LivePolicy[Compiled]) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow() -> Compiled:
        started.set()
        assert go_on.wait(10)
        return compiled(BASE + "mode: observe\n")

    task = asyncio.create_task(live.reload_in_thread(slow))
    assert await asyncio.to_thread(started.wait, 10)
    assert live.current.document.schema.mode == "enforce"
    go_on.set()
    assert await task is None
    assert live.current.document.schema.mode == "observe"


async def test_reloads_are_taken_one_after_another(live: LivePolicy[Compiled]) -> None:
    order: list[str] = []

    def step(name: str, text: str) -> Compiled:
        order.append(f"{name} begins")
        made = compiled(text)
        order.append(f"{name} ends")
        return made

    await asyncio.gather(*(live.reload_in_thread(lambda name=name: step(name, BASE)) for name in ("a", "b", "c")))
    assert order == [f"{name} {what}" for name in ("a", "b", "c") for what in ("begins", "ends")]
