"""Bans: which refusals an honest page cannot cause, who is refused for how long, and who never is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.decision import PASS, Finding, Refuse
from sidecar.exchange import Client
from sidecar.guards.clients.bans import WATCHED, BanGuard, ExceededLimits
from sidecar.limit import Ask, Counts, Limit, LimitReport, Per, Take
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.undeclared_proxies import UndeclaredProxies
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import exchange

NOW = 1_800_000_000.0
CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
FRAMING = Refuse(Code.REQUEST_MALFORMED, {"reason": "Content-Length and Transfer-Encoding"})


def guard(proxies: UndeclaredProxies | None = None) -> BanGuard:
    return BanGuard(MemoryBanStore(strikes=20, within=60.0, duration=900.0), proxies)


def asked(at=0.0, client=CLIENT, method="POST", **fields):
    return exchange(method, client=client, now=NOW + at, **fields)


def strike(made, refuse, times, message=None, **changes):
    return [made.struck(asked(**changes), refuse, NOW, message) for _ in range(times)]


def test_a_client_is_refused_for_a_while() -> None:
    made = guard()
    assert made.check(asked()) is PASS
    found = strike(made, FRAMING, 20)
    assert found[:19] == [None] * 19
    expected = {"seconds": 900, "strikes": 20, "code": "REQUEST_MALFORMED"}
    assert found[19] == Finding(Event.IP_BANNED, expected)
    assert made.check(asked(at=10.5)) == Refuse(
        Code.IP_BLOCKED, {"reason": "banned", "retry_after": 890}, [(b"Retry-After", b"890")]
    )
    assert made.check(asked(at=899.9)) == Refuse(
        Code.IP_BLOCKED, {"reason": "banned", "retry_after": 1}, [(b"Retry-After", b"1")]
    )
    assert made.check(asked(at=900.0)) is PASS


STRIKES = [
    pytest.param("POST", FRAMING, id="ambiguous framing"),
    pytest.param("", FRAMING, id="a head that cannot be read"),
    pytest.param("GET", Refuse(Code.REQUEST_MALFORMED, {"reason": "ambiguous path"}), id="a hidden path"),
    pytest.param("POST", Refuse(Code.INVALID_SESSION_ID, {"reason": "format"}), id="a malformed session"),
    pytest.param("POST", Refuse(Code.INVALID_SESSION_ID, {"reason": "unknown"}), id="a forged session"),
    pytest.param("POST", Refuse(Code.AUTH_FAILED, {"reason": "signature"}), id="a forged token"),
    pytest.param("POST", Refuse(Code.AUTH_FAILED, {}, event=Event.HANDLE_REFUSED), id="a forged handle"),
    pytest.param("POST", Refuse(Code.MESSAGE_INVALID, {"reason": "not_json"}), id="no JSON"),
    pytest.param("POST", Refuse(Code.MESSAGE_INVALID, {"reason": "duplicate_key"}), id="duplicate keys"),
]


@pytest.mark.parametrize(("method", "refuse"), STRIKES)
def test_what_no_honest_page_causes_is_a_strike(method, refuse) -> None:
    made = guard()
    found = strike(made, refuse, 20, method=method)
    assert [one is not None for one in found] == [False] * 19 + [True]


HONEST = [
    *(
        pytest.param("POST", Refuse(code), id=code.name)
        for code in Code
        if code not in (Code.REQUEST_MALFORMED, Code.AUTH_FAILED)
    ),
    pytest.param("POST", Refuse(Code.REQUEST_MALFORMED, {"reason": "target too long"}), id="a long target"),
    pytest.param("GET", Refuse(Code.INVALID_SESSION_ID, {"reason": "unknown"}), id="a safe method"),
    pytest.param("HEAD", Refuse(Code.AUTH_FAILED), id="another safe method"),
    pytest.param("POST", Refuse(Code.INVALID_SESSION_ID, {"reason": "missing"}), id="no session"),
    pytest.param("POST", Refuse(Code.INVALID_SESSION_ID, {"reason": "lost"}), id="a session of before a restart"),
    pytest.param(
        "POST", Refuse(Code.INVALID_SESSION_ID, {"reason": "expired"}, event=Event.SESSION_EXPIRED), id="an old session"
    ),
    pytest.param(
        "POST",
        Refuse(Code.INVALID_SESSION_ID, {"reason": "network"}, event=Event.SESSION_NETWORK_CHANGED),
        id="another network",
    ),
    pytest.param("POST", Refuse(Code.INVALID_SESSION_ID, {"reason": "two different ids"}), id="two ids"),
    pytest.param("POST", Refuse(Code.MESSAGE_INVALID, {"reason": "no_text"}), id="a message without text"),
    pytest.param("POST", Refuse(Code.MESSAGE_INVALID, {"reason": "markup"}), id="markup"),
]


@pytest.mark.parametrize(("method", "refuse"), HONEST)
def test_what_an_honest_page_may_cause_is_none(method, refuse) -> None:
    made = guard()
    assert strike(made, refuse, 100, method=method) == [None] * 100
    assert made.check(asked()) is PASS


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_on_a_foreign_page_ban_no_client(site) -> None:
    made = guard()
    hidden = Refuse(Code.REQUEST_MALFORMED, {"reason": "ambiguous path"})
    assert strike(made, hidden, 50, method="GET", sec_fetch_site=site) == [None] * 50
    assert any(strike(made, hidden, 50, method="GET", sec_fetch_site="same-origin"))


def test_an_undecodable_message_of_a_socket_is_a_strike() -> None:
    made = guard()
    nothing = LimitReport((), (), NOW)
    refuse = Refuse(Code.MESSAGE_INVALID, {"reason": "not_json"})
    assert any(strike(made, refuse, 20, nothing, method="GET"))


# --- a client's own limits --------------------------------------------------------------------------------------


MINUTE = Limit("ip-minute", Per.IP, 3, 60.0)


def report(limit=MINUTE, *, counted=True, subject="203.0.113.9") -> LimitReport:
    return LimitReport((Ask(limit, subject, counted),), (Take(False, 0, 5.0, 5.0),), NOW)


def over(made, times, limit=MINUTE, method="POST", at=0.0, message=False, **changes):
    found = []
    for _ in range(times):
        request = asked(at, method=method, **changes)
        request.limits = None if message else report(limit)
        refuse = Refuse(Code.RATE_LIMIT_EXCEEDED)
        found.append(made.struck(request, refuse, NOW + at, report(limit) if message else None))
    return found


@pytest.mark.parametrize("message", [False, True], ids=["requests", "socket messages"])
def test_refusals_count_beyond_ten_times_the_size_of_a_limit(message) -> None:
    made = guard()
    method = "GET" if message else "POST"
    assert over(made, 27, method=method, message=message) == [None] * 27  # three passed: thirty were asked
    assert [one is not None for one in over(made, 20, method=method, message=message)] == [False] * 19 + [True]


@pytest.mark.parametrize(
    ("limit", "method"),
    [
        pytest.param(replace(MINUTE, per=Per.ORGANIZATION), "POST", id="an organization's"),
        pytest.param(replace(MINUTE, per=Per.ROUTE), "POST", id="a route's"),
        pytest.param(replace(MINUTE, per=Per.GLOBAL), "POST", id="everybody's"),
        pytest.param(replace(MINUTE, counts=Counts.ALL), "POST", id="page loads"),
        pytest.param(MINUTE, "GET", id="a safe method"),
    ],
)
def test_other_limits_never_count(limit, method) -> None:
    assert over(guard(), 500, limit, method) == [None] * 500


def test_a_window_that_is_over_begins_anew() -> None:
    made = guard()
    over(made, 40)
    assert over(made, 27, at=60.0) == [None] * 27


def test_limits_that_were_only_looked_at_do_not_count() -> None:
    exceeded = ExceededLimits()
    assert not any(exceeded.is_strike(report(counted=False), NOW) for _ in range(100))


def test_the_table_of_exceeded_limits_is_bounded() -> None:
    exceeded = ExceededLimits()
    for number in range(WATCHED + 10):
        exceeded.is_strike(report(subject=str(number)), NOW)
    assert len(exceeded._asked) == WATCHED


# --- who is exempt ----------------------------------------------------------------------------------------------


def test_proxies_are_never_counted_nor_refused() -> None:
    made = guard()
    proxy = replace(CLIENT, exempt=True)
    assert strike(made, FRAMING, 50, client=proxy) == [None] * 50
    strike(made, FRAMING, 50)
    assert made.check(asked(client=proxy)) is PASS
    assert made.check(asked()) is not PASS


def test_a_probable_proxy_is_exempt_until_the_policy_names_it() -> None:
    proxies = UndeclaredProxies()
    made = guard(proxies)
    strike(made, FRAMING, 50, peer="10.0.0.1")
    assert made.check(asked(peer="10.0.0.1")) is not PASS
    for address in ("198.51.100.1", "198.51.100.2"):
        proxies.note("10.0.0.1", address, private=True)
    assert made.check(asked(peer="10.0.0.1")) is PASS
    other = Client("10.0.0.1", "10.0.0.1", "10.0.0.0/24")
    assert strike(made, FRAMING, 50, client=other, peer="10.0.0.1") == [None] * 50
    behind = replace(CLIENT, trusted=True)
    assert made.check(asked(client=behind, peer="10.0.0.1")) is not PASS


def test_one_client_is_one_prefix() -> None:
    made = guard()
    one = Client("2001:db8::1", "2001:db8::/64", "2001:db8::/64")
    other = Client("2001:db8::2", "2001:db8::/64", "2001:db8::/64")
    strike(made, FRAMING, 20, client=one)
    assert isinstance(made.check(asked(client=other)), Refuse)


def test_an_unknown_client_is_not_counted() -> None:
    made = guard()
    assert [made.struck(exchange(), FRAMING, NOW) for _ in range(50)] == [None] * 50
