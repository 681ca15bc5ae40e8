"""Bans: who sits out, for how long, and who never does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.decision import PASS, Finding, Refuse
from sidecar.exchange import Client
from sidecar.guards.clients.bans import INNOCENT, WEIGHTS, BanGuard
from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.vocabulary import Code, Event
from tests.support.exchanges import exchange

CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")


def guard() -> BanGuard:
    return BanGuard(MemoryBanStore(strikes=20, within=60.0, duration=900.0))


def asked(at=0.0, client=CLIENT, **fields):
    return exchange(client=client, now=1_800_000_000.0 + at, **fields)


def strike(made, code, times, **changes):
    return [made.struck(asked(**changes), code) for _ in range(times)]


def test_a_client_sits_out_and_comes_back() -> None:
    made = guard()
    assert made.check(asked()) is PASS
    found = strike(made, Code.RATE_LIMIT_EXCEEDED, 20)
    assert found[:19] == [None] * 19
    expected = {"seconds": 900, "strikes": 20, "code": "RATE_LIMIT_EXCEEDED"}
    assert found[19] == Finding(Event.IP_BANNED, expected)
    assert made.check(asked(at=10.5)) == Refuse(
        Code.IP_BLOCKED, {"reason": "banned", "retry_after": 890}, [(b"Retry-After", b"890")]
    )
    assert made.check(asked(at=899.9)) == Refuse(
        Code.IP_BLOCKED, {"reason": "banned", "retry_after": 1}, [(b"Retry-After", b"1")]
    )
    assert made.check(asked(at=900.0)) is PASS


@pytest.mark.parametrize("code", Code)
def test_each_refusal_has_its_weight(code) -> None:
    made = guard()
    weight = WEIGHTS.get(code, 0)
    found = strike(made, code, 20)
    assert (sum(one is not None for one in found) > 0) is (weight > 0)
    if weight:
        assert found.index(next(one for one in found if one)) == -(-20 // weight) - 1


@pytest.mark.parametrize("code", [code for code in Code if code.status >= 500] + [Code.IP_BLOCKED])
def test_our_own_failures_weigh_nothing(code) -> None:
    assert code not in WEIGHTS


def test_proxies_are_never_counted_nor_refused() -> None:
    made = guard()
    proxy = replace(CLIENT, exempt=True)
    assert strike(made, Code.AUTH_FAILED, 50, client=proxy) == [None] * 50
    strike(made, Code.AUTH_FAILED, 50)
    assert made.check(asked(client=proxy)) is PASS
    assert made.check(asked()) is not PASS


@pytest.mark.parametrize("code", [Code.CORS_BLOCKED, Code.CSRF_BLOCKED])
def test_a_foreign_page_cannot_have_its_visitors_banned(code) -> None:
    made = guard()
    assert strike(made, code, 50) == [None] * 50
    assert made.check(asked()) is PASS


def test_one_client_is_one_prefix() -> None:
    made = guard()
    one = Client("2001:db8::1", "2001:db8::/64", "2001:db8::/64")
    other = Client("2001:db8::2", "2001:db8::/64", "2001:db8::/64")
    strike(made, Code.AUTH_FAILED, 5, client=one)
    assert isinstance(made.check(asked(client=other)), Refuse)


def test_nobody_is_not_counted() -> None:
    made = guard()
    assert [made.struck(exchange(), Code.REQUEST_MALFORMED) for _ in range(50)] == [None] * 50


@pytest.mark.parametrize("site", [b"cross-site", b"same-site"])
@pytest.mark.parametrize("code", [code for code in Code if code in INNOCENT])
def test_pictures_on_a_foreign_page_lock_nobody_out(code, site) -> None:
    made = guard()
    made_by_a_page = asked()
    made_by_a_page.head.index[b"sec-fetch-site"] = site
    assert [made.struck(made_by_a_page, code) for _ in range(50)] == [None] * 50


@pytest.mark.parametrize(
    ("code", "site", "origin"),
    [
        pytest.param(Code.NOT_FOUND, b"same-origin", None, id="our-own-page"),
        pytest.param(Code.NOT_FOUND, b"none", None, id="typed-in"),
        pytest.param(Code.NOT_FOUND, b"cross-site", b"https://app.example", id="an-allowed-page"),
        pytest.param(Code.MESSAGE_INVALID, b"cross-site", None, id="what-no-picture-can-do"),
    ],
)
def test_other_refusals_of_a_browser_weigh_as_ever(code, site, origin) -> None:
    made = guard()
    request = asked()
    request.head.index[b"sec-fetch-site"] = site
    request.origin = origin
    assert any(made.struck(request, code) for _ in range(50))
