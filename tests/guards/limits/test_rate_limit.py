"""Limits as a request meets them: who is counted, what is refused, what every response says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

import orjson
import pytest
from hypothesis import given as with_
from hypothesis import strategies as st

from sidecar.decision import PASS, Refuse
from sidecar.errors import Problems
from sidecar.exchange import Client
from sidecar.guards.limits.rate_limit import (
    Costs,
    CountingRules,
    RateLimitGuard,
    RateLimitHeaderWriter,
    build_rate_limit,
    check_limits,
)
from sidecar.guards.limits.rate_limit_headers import RateLimitHeaders, retry_after
from sidecar.limit import Counts, Limit, Per, Take
from sidecar.session import Session
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange, said

IP_MINUTE = Limit("ip-minute", Per.IP, 60, 60.0)
IP_HOUR = Limit("ip-hour", Per.IP, 1000, 3600.0)
ORG_HOUR = Limit("org-hour", Per.ORGANIZATION, 1000, 3600.0)
DEFAULTS = (IP_MINUTE, IP_HOUR, ORG_HOUR)


def client(address="203.0.113.9") -> Client:
    return Client(address, address, "203.0.113.0/24")


def guard(*limits: Limit) -> RateLimitGuard:
    return build_rate_limit(limits, MemoryRateStore(), waits=False)


def ask(made, at=0.0, **changes):
    asked = exchange(client=changes.pop("client", client()), now=1_800_000_000.0 + at)
    asked.started += at
    for name, value in changes.items():
        setattr(asked, name, value)
    return made.check(asked), asked


def headers(asked) -> dict[str, str]:
    lines = asked.limits.lines.decode().split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def test_the_seventy_requests_of_a_loop_stop_at_the_sixty_first() -> None:
    made = guard(*DEFAULTS)
    decisions = [ask(made)[0] for _ in range(70)]
    assert decisions[:60] == [PASS] * 60
    assert all(isinstance(decision, Refuse) for decision in decisions[60:])


def test_a_refusal_says_which_limit_and_when() -> None:
    made = guard(*DEFAULTS)
    for _ in range(60):
        ask(made)
    refusal, asked = ask(made, at=10.0)
    assert isinstance(refusal, Refuse)
    assert refusal.code is Code.RATE_LIMIT_EXCEEDED
    assert refusal.detail["limit"] == "ip-minute"
    assert refusal.detail["per"] == "ip"
    ((name, value),) = refusal.fields
    assert name == b"Retry-After"
    told = re.findall(r'"ip-minute";r=0;t=(\d+)', headers(asked)["RateLimit"])
    assert int(value) >= int(told[0]) >= 50
    later, _ = ask(made, at=10.0 + int(value))
    assert later is PASS


def test_reset_is_kept_to_the_millisecond() -> None:
    """A refused client that comes back at the moment of X-RateLimit-Reset is let in."""
    made = guard(IP_MINUTE)
    for _ in range(60):
        ask(made)
    _, asked = ask(made, at=3.0)
    report = asked.limits
    assert report is not None
    assert ask(made, at=3.0 + report.takes[0].retry_after - 0.01)[0] is not PASS
    assert ask(made, at=3.0 + report.takes[0].retry_after)[0] is PASS


def test_the_headers_of_a_first_request() -> None:
    _, asked = ask(guard(*DEFAULTS))
    told = headers(asked)
    assert told["X-RateLimit-Limit"] == "60"
    assert told["X-RateLimit-Remaining"] == "59"
    assert told["X-RateLimit-Org-Limit"] == "1000"
    assert told["X-RateLimit-Org-Remaining"] == "999"
    assert told["RateLimit-Policy"] == '"ip-minute";q=60;w=60, "ip-hour";q=1000;w=3600, "org-hour";q=1000;w=3600'
    assert re.fullmatch(
        r'"ip-minute";r=59;t=6[0-9], "ip-hour";r=999;t=36[0-9]{2}, "org-hour";r=999;t=36[0-9]{2}', told["RateLimit"]
    )
    for name in ("X-RateLimit-Reset", "X-RateLimit-Org-Reset"):
        assert re.fullmatch(r"2027-01-15T\d\d:\d\d:\d\d\.\d{3}Z", told[name])


TAKES = {
    # (takes of ip-minute, ip-hour; the limit that speaks, remaining, reset in ms past the hour)
    "less left speaks": ((Take(True, 5, 0, 30), Take(True, 900, 0, 3000)), "60", "5", "00:30.000"),
    "the hour is nearly used up": ((Take(True, 50, 0, 30), Take(True, 2, 0, 3000)), "1000", "2", "50:00.000"),
    "used up: when the next would pass": ((Take(False, 0, 7.5, 60), Take(True, 900, 0, 3000)), "60", "0", "00:07.500"),
    "both used up: the longer": ((Take(False, 0, 7.5, 60), Take(False, 0, 100.25, 3000)), "1000", "0", "01:40.250"),
    "never earlier than the truth": ((Take(False, 0, 7.5001, 60), Take(True, 9, 0, 9)), "60", "0", "00:07.501"),
    "rounding over a second": ((Take(False, 0, 7.9999, 60), Take(True, 9, 0, 9)), "60", "0", "00:08.000"),
}


@pytest.mark.parametrize(("takes", "limit", "remaining", "reset"), TAKES.values(), ids=TAKES)
def test_the_tightest_limit_speaks(takes, limit, remaining, reset) -> None:
    lines = RateLimitHeaders((IP_MINUTE, IP_HOUR)).render(takes, 1_800_000_000.0).decode()
    assert f"X-RateLimit-Limit: {limit}\r\nX-RateLimit-Remaining: {remaining}\r\n" in lines
    assert f"X-RateLimit-Reset: 2027-01-15T08:{reset}Z\r\n" in lines


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.001, 2), (59.5, 60)])
def test_retry_after_is_never_early_and_never_zero(seconds, expected) -> None:
    assert retry_after(Take(False, 0, seconds, 60)) == expected


def test_only_limits_that_exist_are_told() -> None:
    _, asked = ask(guard(ORG_HOUR))
    assert "X-RateLimit-Limit" not in headers(asked)
    assert "X-RateLimit-Org-Limit" in headers(asked)
    made = guard()
    decision, asked = ask(made)
    assert decision is PASS
    assert asked.limits is None
    assert RateLimitHeaderWriter(made).lines(asked) == b""


SESSION = Session("a" * 64, "acme", 0.0, 0.0, "203.0.113.0/24")
DIMENSIONS = {
    # per, one exchange, another that is counted apart, another that is counted together
    "ip": (Per.IP, {}, {"client": client("203.0.113.10")}, {"organization": "acme"}),
    "organization": (Per.ORGANIZATION, {}, {"organization": "acme"}, {"client": client("203.0.113.10")}),
    "session": (
        Per.SESSION,
        {"session": SESSION},
        {"session": replace(SESSION, key="b" * 64)},
        {"session": SESSION, "client": client("203.0.113.10")},
    ),
    "no session counts by address": (
        Per.SESSION,
        {},
        {"client": client("203.0.113.10")},
        {"session_key": "c" * 64, "session_id": "invented"},
    ),
    "user": (Per.USER, {"user": "ann"}, {"user": "bob"}, {"user": "ann", "client": client("203.0.113.10")}),
    "no user counts by address": (Per.USER, {}, {"client": client("203.0.113.10")}, {"organization": "acme"}),
    "route": (Per.ROUTE, {"route": "chat"}, {"route": "static"}, {"route": "chat", "client": client("203.0.113.10")}),
    "everybody": (Per.GLOBAL, {}, None, {"client": client("203.0.113.10"), "organization": "acme"}),
}


@pytest.mark.parametrize(("per", "one", "apart", "together"), DIMENSIONS.values(), ids=DIMENSIONS)
def test_dimensions(per, one, apart, together) -> None:
    made = guard(Limit("x", per, 1, 60.0))
    assert ask(made, **one)[0] is PASS
    if apart is not None:
        assert ask(made, **apart)[0] is PASS
    assert isinstance(ask(made, **together)[0], Refuse)


def test_a_refused_request_consumes_none_of_its_limits() -> None:
    burst = Limit("burst", Per.IP, 2, 10.0)
    made = guard(burst, ORG_HOUR)
    for _ in range(10):
        _, asked = ask(made)
    assert asked.limits is not None
    assert asked.limits.takes[1].remaining == 998


def test_routes_share_the_global_windows_and_keep_their_own() -> None:
    store = MemoryRateStore()
    burst = Limit("chat-burst", Per.IP, 5, 10.0)
    chat = build_rate_limit([IP_MINUTE, burst], store, waits=False)
    rest = build_rate_limit([IP_MINUTE], store, waits=False)
    assert [ask(chat)[0] is PASS for _ in range(6)] == [True] * 5 + [False]
    _, asked = ask(rest)
    assert headers(asked)["X-RateLimit-Remaining"] == "54"


def test_a_refusal_before_the_limits_still_tells_their_state() -> None:
    made = guard(*DEFAULTS)
    ask(made)
    early = exchange(client=client())
    told = RateLimitHeaderWriter(made).lines(early).decode()
    assert "X-RateLimit-Remaining: 59\r\n" in told
    assert early.limits is not None
    assert not early.limits.counted
    _, asked = ask(made)
    assert headers(asked)["X-RateLimit-Remaining"] == "58"


def test_an_unknown_client_has_no_state() -> None:
    assert RateLimitHeaderWriter(guard(*DEFAULTS)).lines(exchange()) == b""


def test_the_status_is_the_callers_own_and_costs_nothing() -> None:
    made = guard(IP_MINUTE, ORG_HOUR)
    ask(made)
    asked = exchange(client=client())
    answer = made.status(asked)
    made.status(exchange(client=client()))
    assert answer.status == 200
    assert (b"Cache-Control", b"no-store") in answer.fields
    body = orjson.loads(answer.body)
    assert [(one["name"], one["remaining"], one["retry_after"]) for one in body["limits"]] == [
        ("ip-minute", 59, 0),
        ("org-hour", 999, 0),
    ]
    assert "203.0.113.9" not in answer.body.decode()
    other = exchange(client=client("203.0.113.10"))
    assert orjson.loads(made.status(other).body)["limits"][0]["remaining"] == 60


class FarStore(MemoryRateStore):
    """Answers like a store across the network."""

    async def later(self, answer):
        return answer

    def take(self, asks, now):
        return self.later(super().take(asks, now))

    def peek(self, asks, now):
        return self.later(super().peek(asks, now))


@pytest.mark.parametrize("store", [FarStore, MemoryRateStore], ids=["waits", "answers at once while it fails over"])
async def test_a_store_across_the_network(store) -> None:
    made = build_rate_limit([Limit("x", Per.IP, 2, 60.0)], store(), waits=True)
    asked = exchange(client=client())
    assert await said(made.check(asked)) is PASS
    assert await said(made.check(asked)) is PASS
    assert isinstance(await said(made.check(asked)), Refuse)
    early = exchange(client=client())
    stamp = RateLimitHeaderWriter(made)
    assert stamp.lines(early) == b""
    await said(made.peek(early))
    assert b"X-RateLimit-Remaining: 0\r\n" in stamp.lines(early)
    answer = await said(made.status(exchange(client=client())))
    assert orjson.loads(answer.body)["limits"][0]["remaining"] == 0


BAD = {
    "two of one name": ([IP_MINUTE, IP_MINUTE], "rate_limits[1].name"),
    "a name that breaks the header": ([Limit('a"b', Per.IP, 1, 1.0)], "rate_limits[0].name"),
    "an empty name": ([Limit("", Per.IP, 1, 1.0)], "rate_limits[0].name"),
    "a percent sign": ([Limit("50%d", Per.IP, 1, 1.0)], "rate_limits[0].name"),
    "admits no request": ([Limit("x", Per.IP, 0, 1.0)], "rate_limits[0].limit"),
    "no window": ([Limit("x", Per.IP, 1, 0.0)], "rate_limits[0].window"),
    "a year": ([Limit("x", Per.IP, 1, 365 * 86400.0)], "rate_limits[0].window"),
}


@pytest.mark.parametrize(("limits", "path"), BAD.values(), ids=BAD)
def test_what_the_compiler_refuses(limits, path) -> None:
    problems = Problems("rate_limits")
    check_limits(limits, problems)
    assert [problem.path for problem in problems.found] == [path]


def test_a_route_counts_its_own_list_and_shares_the_names_of_the_policy() -> None:
    problems = Problems("routes[0].rate_limits")
    check_limits([Limit("burst", Per.IP, 1, 1.0), IP_MINUTE], problems, before=[IP_MINUTE])
    assert [problem.path for problem in problems.found] == ["routes[0].rate_limits[1].name"]


numbers = st.integers(0, 10**6)
seconds = st.integers(0, 86_400_000).map(lambda millis: millis / 1000)
takes = st.builds(Take, st.booleans(), numbers, seconds, seconds)


@with_(st.tuples(takes, takes, takes))
def test_every_state_makes_lines_that_can_be_read_back(given) -> None:
    lines = RateLimitHeaders(DEFAULTS).render(given, 1_800_000_000.123).decode()
    assert lines.endswith("\r\n")
    told = dict(line.split(": ", 1) for line in lines.split("\r\n")[:-1])
    states = re.findall(r'"([a-z-]+)";r=(\d+);t=(\d+)', told["RateLimit"])
    assert [(name, int(left)) for name, left, _ in states] == [
        (limit.name, take.remaining) for limit, take in zip(DEFAULTS, given, strict=True)
    ]
    for (_, left, wait), take in zip(states, given, strict=True):
        truth = take.reset_after if int(left) else take.retry_after
        assert truth <= int(wait) <= truth + 1
    assert int(told["X-RateLimit-Remaining"]) == min(given[0].remaining, given[1].remaining)
    reset = datetime.fromisoformat(told["X-RateLimit-Org-Reset"]).timestamp()
    truth = 1_800_000_000.123 + (given[2].reset_after if given[2].remaining else given[2].retry_after)
    assert truth - 0.0001 <= reset <= truth + 0.0021


# --- which requests a limit counts ------------------------------------------------------------------------------


CHAT = Limit("chat", Per.IP, 3, 60.0)
EVERYTHING = Limit("everything", Per.IP, 5, 60.0, Counts.ALL)
OWN = Limit("own", Per.IP, 2, 60.0, Counts.ALL)


def counted(made, method="GET", **fields):
    asked = exchange(method, client=client(), **fields)
    decision = made.check(asked)
    assert asked.limits is not None
    left = {
        ask.limit.name: (take.remaining, ask.counted)
        for ask, take in zip(asked.limits.asks, asked.limits.takes, strict=True)
    }
    return decision, left


def ruled(*limits, **rules) -> RateLimitGuard:
    return build_rate_limit(limits, MemoryRateStore(), waits=False, rules=CountingRules(**rules))


@pytest.mark.parametrize(
    ("costs", "method", "counts"),
    [
        pytest.param(Costs.BY_METHOD, "GET", False, id="a page load"),
        pytest.param(Costs.BY_METHOD, "HEAD", False, id="its twin without a body"),
        pytest.param(Costs.BY_METHOD, "OPTIONS", False, id="a question about methods"),
        pytest.param(Costs.BY_METHOD, "POST", True, id="a request that changes something"),
        pytest.param(Costs.BY_METHOD, "DELETE", True, id="another one"),
        pytest.param(Costs.ALWAYS, "GET", True, id="a route with a message"),
        pytest.param(Costs.NEVER, "POST", False, id="a browser's report"),
    ],
)
def test_what_a_chat_limit_counts(costs, method, counts) -> None:
    _, left = counted(ruled(CHAT, EVERYTHING, costs=costs), method)
    assert left == {"chat": (2, True) if counts else (3, False), "everything": (4, True)}


def test_page_loads_pass_when_a_chat_limit_is_used_up_and_the_other_way_round() -> None:
    made = ruled(CHAT, EVERYTHING, costs=Costs.BY_METHOD)
    assert [counted(made, "POST")[0] is PASS for _ in range(4)] == [True, True, True, False]
    decision, left = counted(made)
    assert (decision, left) == (PASS, {"chat": (0, False), "everything": (1, True)})
    counted(made)
    refusal, _ = counted(made)
    assert isinstance(refusal, Refuse)
    assert refusal.detail["limit"] == "everything"


def test_a_socket_counts_its_messages_and_not_its_handshake() -> None:
    made = ruled(CHAT, EVERYTHING, OWN, messages=True, own=frozenset({"own"}))
    _, left = counted(made, upgrade="websocket")
    assert left == {"chat": (3, False), "everything": (4, True), "own": (2, False)}
    _, left = counted(made, "POST")
    assert left == {"chat": (2, True), "everything": (3, True), "own": (1, True)}


async def test_a_message_takes_of_chat_limits_and_of_the_routes_own() -> None:
    made = ruled(CHAT, EVERYTHING, OWN, messages=True, own=frozenset({"own"}))
    asked = exchange(client=client())
    report, refusal = await made.take_message(asked, 1.0, 2.0)
    assert ([ask.limit.name for ask in report.asks], refusal, report.at) == (["chat", "own"], None, 2.0)
    await made.take_message(asked, 1.0, 2.0)
    _, refusal = await made.take_message(asked, 1.0, 2.0)
    assert refusal is not None
    assert (refusal.code, refusal.detail["limit"]) == (Code.RATE_LIMIT_EXCEEDED, "own")
    assert asked.limits is None


def test_the_default_organization_is_not_held_to_what_is_for_named_ones() -> None:
    limit = Limit("org-hour", Per.ORGANIZATION, 1, 3600.0, named_only=True)
    made = ruled(CHAT, limit, default_organization="default")
    for _ in range(2):
        decision, asked = ask(made)
        assert decision is PASS
        assert "X-RateLimit-Org-Limit" not in headers(asked)
    decisions = []
    for _ in range(2):
        decision, asked = ask(made, organization="acme", client=client("203.0.113.10"))
        decisions.append(decision is PASS)
        assert headers(asked)["X-RateLimit-Org-Limit"] == "1"
    assert decisions == [True, False]


def test_a_proxy_that_speaks_for_itself_is_not_counted() -> None:
    made = guard(Limit("one", Per.IP, 1, 60.0))
    probe = replace(client(), uncounted=True)
    assert [ask(made, client=probe)[0] for _ in range(5)] == [PASS] * 5
    assert ask(made)[0] is PASS
