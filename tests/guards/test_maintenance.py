"""Maintenance mode: by the switch of a process, or by the policy."""

from __future__ import annotations

from sidecar.decision import PASS, Refuse
from sidecar.guards.maintenance import MaintenanceGuard
from sidecar.maintenance import MaintenanceSwitch, Notice
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange


def refused(sentence: str, retry_after: bytes) -> Refuse:
    return Refuse(Code.MAINTENANCE, {}, [(b"Retry-After", retry_after)], sentence=sentence)


def test_the_switch_refuses_and_serves_again() -> None:
    switch = MaintenanceSwitch()
    guard = MaintenanceGuard(switch, None)
    assert guard.check(exchange()) == PASS
    switch.on("Back at noon", 90.5)
    assert guard.check(exchange()) == refused("Back at noon", b"91")
    assert switch.state() == {"on": True, "message": "Back at noon", "retry_after": 90.5}
    switch.off()
    assert guard.check(exchange()) == PASS
    assert switch.state() == {"on": False}


def test_the_policy_holds_while_the_switch_is_off() -> None:
    switch = MaintenanceSwitch()
    guard = MaintenanceGuard(switch, Notice("Moving", 60.0))
    assert guard.check(exchange()) == refused("Moving", b"60")
    switch.on("Longer", 120.0)
    assert guard.check(exchange()) == refused("Longer", b"120")
