"""Which running exchanges a revocation ends, and when it looks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sidecar.exchange import Client, Exchange
from sidecar.proxy import revocations as module
from sidecar.proxy.early_end import EarlyEnd
from sidecar.proxy.revocations import Revocations, StandsOn
from sidecar.revoked import Cause, Revoked, SubjectKind
from sidecar.session import Session
from sidecar.vocabulary import Code
from tests.support.clock import FakeClock
from tests.support.exchanges import exchange

CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
KEY = "f" * 64


@dataclass
class Running:
    """An exchange that runs; `ended` says what it was told."""

    exchange: Exchange
    outward: bool = False
    ended: list[EarlyEnd] = field(default_factory=list)

    def end_early(self, why: EarlyEnd) -> None:
        self.ended.append(why)


def running(*, outward: bool = False, started: float = 1000.0) -> Running:
    """One that stands on all five kinds of subjects."""
    made = exchange(client=CLIENT)
    made.started = started
    made.organization, made.handle, made.credential = "acme", "hdl_1", "crd_1"
    made.session_key, made.session = KEY, Session(KEY, "acme", 0.0, 0.0, "")
    return Running(made, outward)


def revocations(*exchanges: Running, spared: Callable[[Exchange], bool] = lambda _: False) -> Revocations:
    return Revocations(FakeClock(), lambda: exchanges, spared)


async def ended(revoked: Revoked, each: Running, spared: bool = False) -> bool:
    made = revocations(each, spared=lambda _: spared)
    made.end(revoked)
    await asyncio.sleep(0.01)
    await made.close()
    return bool(each.ended)


@pytest.mark.parametrize(
    ("revoked", "public", "egress"),
    [
        pytest.param(Revoked(SubjectKind.HANDLE, "hdl_1", Cause.REVOKED), True, True, id="its handle"),
        pytest.param(Revoked(SubjectKind.HANDLE, "hdl_2", Cause.REVOKED), False, False, id="another handle"),
        pytest.param(Revoked(SubjectKind.CREDENTIAL, "crd_1", Cause.DELETED), True, True, id="its credential"),
        pytest.param(Revoked(SubjectKind.CREDENTIAL, "hdl_1", Cause.DELETED), False, False, id="another kind"),
        pytest.param(Revoked(SubjectKind.SESSION, KEY, Cause.ENDED), True, True, id="its session"),
        pytest.param(Revoked(SubjectKind.SESSION, KEY, Cause.ENDED, "acme"), True, True, id="of its organization"),
        pytest.param(Revoked(SubjectKind.SESSION, KEY, Cause.ENDED, "globex"), False, False, id="of another one"),
        pytest.param(Revoked(SubjectKind.ORGANIZATION, "acme", Cause.ERASED), True, True, id="its organization"),
        pytest.param(Revoked(SubjectKind.IP, CLIENT.subject, Cause.BANNED), True, False, id="its client"),
        pytest.param(Revoked(SubjectKind.IP, "203.0.113.8", Cause.BANNED), False, False, id="another client"),
    ],
)
async def test_what_stands_on_a_subject_ends(revoked: Revoked, public: bool, egress: bool) -> None:
    assert await ended(revoked, running()) is public
    assert await ended(revoked, running(outward=True)) is egress


async def test_a_session_that_is_only_presented_is_not_stood_on() -> None:
    each = running()
    each.exchange.session = None  # DELETE /api/session, which ends it, has none any more
    assert not await ended(Revoked(SubjectKind.SESSION, KEY, Cause.ENDED), each)


@pytest.mark.parametrize(("cause", "ends"), [(Cause.BANNED, False), (Cause.ERASED, True)])
async def test_clients_that_no_ban_is_about_are_spared_by_bans_only(cause: Cause, ends: bool) -> None:
    assert await ended(Revoked(SubjectKind.IP, CLIENT.subject, cause), running(), spared=True) is ends


async def test_what_began_later_is_left_alone() -> None:
    assert not await ended(Revoked(SubjectKind.ORGANIZATION, "acme", Cause.ERASED), running(started=1000.1))


async def test_the_detail_says_what_was_revoked_and_no_whole_key() -> None:
    each = running()
    assert await ended(Revoked(SubjectKind.SESSION, KEY, Cause.ENDED), each)
    assert each.ended == [EarlyEnd(Code.ACCESS_REVOKED, {"revoked": "session", "subject": KEY[:8], "cause": "ended"})]


async def test_one_look_for_many_and_a_second_one_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.1)
    monkeypatch.setattr(module, "PAUSE", 0.01)
    looks, late = 0, running()
    late.exchange.organization = ""  # its guards are still asked: which organization is not known yet

    def all_running() -> list[Running]:
        nonlocal looks
        looks += 1
        return [late]

    made = Revocations(FakeClock(), all_running, lambda _: False)
    for number in range(1000):
        made.end(Revoked(SubjectKind.IP, f"10.0.{number >> 8}.{number % 256}", Cause.BANNED))
    made.end(Revoked(SubjectKind.ORGANIZATION, "acme", Cause.ERASED))
    await asyncio.sleep(0.03)
    assert (looks, late.ended) == (1, [])
    late.exchange.organization = "acme"
    await asyncio.sleep(0.15)
    assert (looks, len(late.ended)) == (2, 1)
    await asyncio.sleep(0.15)
    assert looks == 2
    await made.close()


async def test_one_that_cannot_be_ended_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Running):
        def end_early(self, why: EarlyEnd) -> None:
            raise RuntimeError("a fault of ours")

    broken, others = Broken(running().exchange), [running() for _ in range(2 * module.TURN)]
    made = revocations(broken, *others)
    made.end(Revoked(SubjectKind.ORGANIZATION, "acme", Cause.ERASED))
    await asyncio.sleep(0.1)
    assert all(each.ended for each in others)
    assert "was not ended" in caplog.text
    await made.close()


def test_what_the_vault_is_asked_about() -> None:
    public, egress, bare = running(), running(outward=True), Running(exchange())
    assert revocations(public, egress, bare).stands_on() == StandsOn({"hdl_1"}, {"crd_1"}, {("acme", KEY)})
    assert revocations(public, bare).stands_on().sessions == set()
