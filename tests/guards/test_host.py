"""The host allow list: names, wildcards, ports, and what is refused when the policy compiles."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS, Refuse
from sidecar.errors import Problems
from sidecar.guards.host import CACHED, build_host
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

HOSTS = ["chat.example.com", "*.preview.example.com", "admin.example.com:8443", "[2001:db8::1]"]
ASKED = {
    "listed": ("chat.example.com", True),
    "any port": ("chat.example.com:8080", True),
    "capitals": ("Chat.Example.Com", True),
    "wildcard": ("a.preview.example.com", True),
    "wildcard, deeper, with a port": ("a.b.preview.example.com:8080", True),
    "wildcard needs a label": ("preview.example.com", False),
    "wildcard, empty label": (".preview.example.com", False),
    "half a label": ("evilpreview.example.com", False),
    "its own port": ("admin.example.com:8443", True),
    "another port": ("admin.example.com:8444", False),
    "no port": ("admin.example.com", False),
    "IPv6": ("[2001:db8::1]:8080", True),
    "another": ("evil.com", False),
    "listed in front": ("chat.example.com.evil.com", False),
    "an address": ("203.0.113.9", False),
    "empty": ("", False),
}


@pytest.mark.parametrize(("host", "served"), ASKED.values(), ids=ASKED)
def test_hosts(host, served) -> None:
    problems = Problems("requests.hosts")
    made = build_host(HOSTS, problems)
    assert made is not None
    assert not problems.found
    expected = PASS if served else Refuse(Code.MISDIRECTED_REQUEST, {"reason": "host"})
    for _ in range(2):
        assert made.check(exchange(Host=host)) == expected


def test_without_a_list_every_host_is_served() -> None:
    assert build_host([], Problems()) is None


@pytest.mark.parametrize(
    "text", ["", "https://chat.example.com", "chat.example.com/x", "*", "a..b", "a b", "chat.*.com"]
)
def test_hosts_that_are_none(text) -> None:
    problems = Problems("requests.hosts")
    assert build_host([text], problems) is not None  # and it serves nothing, rather than all
    assert [problem.path for problem in problems.found] == ["requests.hosts[0]"]


def test_a_flood_of_hosts_stays_bounded() -> None:
    made = build_host(HOSTS, Problems())
    assert made is not None
    for number in range(CACHED // 120 + 10):
        made.check(exchange(Host=f"h{number}"))
    assert 0 < len(made._known) <= CACHED // 120
    before = len(made._known)
    assert made.check(exchange(Host="h" * 5000)) is not PASS
    assert len(made._known) == before
