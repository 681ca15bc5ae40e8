"""Heads that come again: which are kept, for how long, and within which bound; and that they are read as new ones."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.exchange import Exchange
from sidecar.head import RequestHead
from sidecar.policy.compile import compile_policy
from sidecar.policy.dry_run import isolated_services
from sidecar.policy.policy import Policy
from sidecar.proxy import known_heads
from sidecar.proxy.known_heads import KnownHead, KnownHeads
from sidecar.proxy.strict_rules import Malformed
from tests.support.policies import BASE, read
from tests.support.raw import get, post


class Loop(asyncio.AbstractEventLoop):
    """Keeps the timers, which tests run."""

    def __init__(self) -> None:
        self.timers: list[Callable[[], object]] = []

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        assert delay == known_heads.GENERATION
        self.timers.append(callback)

    def pass_a_generation(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            timer()


@cache
def policy_of(origin: str, more: str = "") -> Policy:
    text = BASE + f"cors: {{ allowed_origins: [{origin}] }}\n{more}"
    return compile_policy(read(text), isolated_services()).public


PROXY = "192.0.2.1"
BEHIND_PROXY = f"""
clients: {{ trusted_proxies: [{PROXY}], deny: [203.0.113.66] }}
sessions: {{ mode: issue, in: ["header:X-Session-ID", "cookie:sid"] }}
organizations: {{ from: [header, host], hosts: {{ other.example: other }} }}
requests: {{ hosts: [chat.example, other.example], denied_user_agents: [EvilBot] }}
"""
SESSION = "0b0e7e2c-8d5e-4a51-b6a5-0f5a3f4f3d2a"


class Reader:
    """Reads heads and begins exchanges as a listener does."""

    def __init__(self, more: str = "") -> None:
        self.loop = Loop()
        self.heads = KnownHeads(self.loop)
        self.policy = policy_of("https://app.example", more)

    def read(self, raw: bytes, peer: str = PROXY, *, secure: bool = False) -> KnownHead | None:
        return self.begun(raw, peer, secure=secure)[0]

    def begun(self, raw: bytes, peer: str = PROXY, *, secure: bool = False) -> tuple[KnownHead | None, Exchange]:
        """Return what is known of a head, if the request may go by it, and its exchange."""
        read = self.heads.read(raw, self.policy, secure)
        exchange = Exchange("id", 0.0, 0.0, read.head, peer, secure)
        if read.key is not None:
            route = self.policy.routes.find(read.head.method, read.head.path)
            assert route is not None
            self.heads.keep(read, exchange.anew(), route, self.policy, reusable=True)
        return (read.known if read.known is not None and read.known.begin(exchange) else None), exchange

    def times(self, raw: bytes, times: int) -> list[bool]:
        return [self.read(raw) is not None for _ in range(times)]


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_a_head_is_known_from_the_third_time_on(reader: Reader) -> None:
    assert reader.times(get("/"), 4) == [False, False, True, True]


def test_the_digits_of_its_length_make_no_difference(reader: Reader) -> None:
    heads = [post("/a", b"x" * size).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for size in (1, 20, 300, 0)]
    assert [reader.read(head) is not None for head in heads] == [False, False, True, True]


def test_another_scheme_is_another_head(reader: Reader) -> None:
    reader.times(get("/"), 3)
    assert reader.read(get("/"), secure=True) is None


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer x", "X-API-Key: x", "Origin: https://evil.example", "X-Forwarded-For: 198.51.100.7",
    ],
)  # fmt: skip
def test_heads_with_keys_and_those_that_guards_look_at_each_time_are_not_kept(reader: Reader, line: str) -> None:
    assert reader.times(get("/", line), 4) == [False] * 4


def test_a_name_that_is_there_twice_is_read_each_time(reader: Reader) -> None:
    assert reader.times(get("/", "X-A: 1", "X-A: 2"), 4) == [False] * 4


def of_client(number: int, *lines: str) -> bytes:
    return get(
        "/",
        f"X-Forwarded-For: 198.51.100.{number}",
        f"x-session-id: {SESSION[:-3]}{number:03}",
        f"Cookie: theme=dark; n={number}",
        f"X-Request-ID: request-{number}",
        "Origin: https://app.example",
        *lines,
    )


def test_heads_of_many_clients_are_one_with_values_of_their_own() -> None:
    reader = Reader(BEHIND_PROXY)
    assert [reader.read(of_client(number)) is not None for number in range(6)] == [False] * 2 + [True] * 4
    _, exchange = reader.begun(of_client(7))
    assert exchange.client.address == "198.51.100.7"
    assert exchange.client.subject == "198.51.100.7"
    assert exchange.session_id == f"{SESSION[:-3]}007"
    assert exchange.id == "request-7"
    assert exchange.origin == b"https://app.example"
    assert exchange.head.get(b"cookie") == b"theme=dark; n=7"
    assert len(reader.heads._young) == 1


def test_values_of_clients_are_not_kept() -> None:
    reader = Reader(BEHIND_PROXY)
    for _ in range(5):
        reader.read(of_client(9))
    ((key, known),) = reader.heads._young.items()
    kept = b"".join([key[1], *known.head.index.values(), *(line for _, line in known.head.lines)])
    assert b"198.51.100" not in kept
    assert SESSION[:8].encode() not in kept
    assert b"n=9" not in kept


DIFFERENT = {
    "a denied address": ["X-Forwarded-For: 203.0.113.66"],
    "more hops, whose nearest says another scheme": ["X-Forwarded-For: 198.51.100.7, 192.0.2.1"],
    "a session of no form": ["X-Session-ID: short"],
    "two sessions": [f"X-Session-ID: {SESSION}", f"Cookie: sid={SESSION[:-1]}b"],
}


@pytest.mark.parametrize("lines", DIFFERENT.values(), ids=DIFFERENT)
def test_a_value_that_decides_otherwise_is_admitted_as_if_its_head_was_new(lines: list[str]) -> None:
    reader = Reader(BEHIND_PROXY)
    names = [line.partition(":")[0] for line in lines]
    usual = {"X-Forwarded-For": "198.51.100.7", "X-Session-ID": SESSION, "Cookie": f"sid={SESSION}"}
    same = get("/", "X-Forwarded-Proto: https, http", *(f"{name}: {usual[name]}" for name in names))
    assert reader.times(same, 4)[-1]
    assert reader.read(get("/", "X-Forwarded-Proto: https, http", *lines)) is None


def test_another_peer_is_asked_about() -> None:
    reader = Reader(BEHIND_PROXY)
    assert reader.times(of_client(1), 4)[-1]
    assert reader.read(of_client(1), "192.0.2.2") is None, "it is no trusted proxy"


def test_a_session_field_that_other_guards_look_at_is_part_of_the_head() -> None:
    places = ["header:X-Session-ID", "header:Origin", "header:X-Org-ID", "header:User-Agent"]
    reader = Reader(f"sessions: {{ mode: issue, in: {places} }}\n")
    assert reader.policy.varying >= {b"x-session-id", b"cookie", b"x-forwarded-for"}
    assert reader.policy.varying.isdisjoint({b"origin", b"x-org-id", b"host", b"user-agent", b"authorization"})


class Asked(dict[bytes, bytes]):
    """An index that notes the names it is asked for."""

    def __init__(self, index: dict[bytes, bytes]) -> None:
        super().__init__(index)
        self.names: set[bytes] = set()

    def get(self, name: bytes, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def __getitem__(self, name: bytes) -> bytes:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        assert isinstance(name, bytes)
        self.names.add(name)
        return super().__contains__(name)


def test_guards_that_are_not_asked_again_look_at_no_varying_field() -> None:
    reader = Reader(BEHIND_PROXY)
    lines = ["User-Agent: Agent", "X-Forwarded-Proto: https", "X-Org-ID: acme", "Sec-Fetch-Site: same-origin"]
    _, exchange = reader.begun(of_client(1, *lines))
    asked = Asked(exchange.head.index)
    exchange = exchange.anew()
    exchange.head = RequestHead("POST", b"/", "/", 1, exchange.head.lines, asked)
    route = reader.policy.routes.find("POST", "/")
    assert route is not None
    for step in route.settled_steps:
        asked.names.clear()
        assert step.settled is not None
        assert step.settled(exchange), step.guard.name
        assert step.varying or asked.names.isdisjoint(reader.policy.varying), step.guard.name
    assert {step.guard.name for step in route.settled_steps} == {
        "address", "request_id", "organization", "host", "user_agent", "cors", "fetch_metadata", "session_id",
    }  # fmt: skip
    assert all(getattr(each, "by_head", False) for each in route.header_writers[:2])
    asked.names.clear()
    for writer in route.header_writers[:2]:
        writer.lines(exchange)
    assert asked.names.isdisjoint(reader.policy.varying)


FIELDS = ["X-Forwarded-For", "x-forwarded-for", "Cookie", "X-Session-ID", "Content-Length", "traceparent", "X-Other"]
VALUES = st.one_of(
    st.sampled_from(
        ["198.51.100.7", SESSION, "a=1; b=2", "5", "05", "", " ", "5, 5", "+5", "1\t2", "a\r", "x\r\nX-Other: 1"]
    ),
    st.text(st.characters(max_codepoint=255), max_size=12),
)
BLANKS = st.sampled_from([": ", ":", ":  ", ":\t", " : "])


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), BLANKS, VALUES), max_size=5))
def test_a_head_is_read_as_if_it_came_for_the_first_time(fields: list[tuple[str, str, str]]) -> None:
    """Whatever stands in place of the values that a known head had."""
    reader = Reader(BEHIND_PROXY)
    usual = {"Content-Length": "5", "X-Forwarded-For": "198.51.100.1"}
    # Heads of each of these fields are known, alone and together.
    names = list(dict.fromkeys(name for name, _, _ in fields))
    for lines in ([f"{name}: {usual.get(name, 'known')}"] for name in FIELDS):
        reader.times(get("/", *lines), 4)
    reader.times(get("/", *(f"{name}: {usual.get(name, 'known')}" for name in names)), 4)
    raw = b"".join([b"GET / HTTP/1.1\r\nHost: chat.example\r\n", *(
        f"{name}{blank}{value}\r\n".encode("latin-1") for name, blank, value in fields
    ), b"\r\n"])  # fmt: skip
    if raw.find(b"\r\n\r\n") != len(raw) - 4:
        return
    assert outcome(reader.heads, raw, reader.policy) == outcome(KnownHeads(Loop()), raw, reader.policy)


def outcome(heads: KnownHeads, raw: bytes, policy: Policy) -> object:
    """Return all that reading a head comes to."""
    try:
        read = heads.read(raw, policy, False)
    except Malformed as error:
        return error.code, error.reason
    lines = [pair for pair in read.head.lines if pair[0] != b"content-length"]  # which is written anew
    return read.head.method, read.head.target, read.head.version, lines, read.head.index, read.framing


def test_other_spellings_are_looked_for_within_a_bound(reader: Reader) -> None:
    for number in range(2 * known_heads.MOST_MARKS):
        name = "".join(c.upper() if number >> at & 1 else c for at, c in enumerate("x-real-ip"))
        reader.read(get("/", f"{name}: 192.0.2.1"))
    assert len(reader.heads._marks) == known_heads.MOST_MARKS
    assert reader.times(get("/"), 3)[-1]


def test_a_new_policy_begins_without_heads(reader: Reader) -> None:
    reader.times(get("/"), 3)
    reader.policy = policy_of("https://other.example")
    assert reader.times(get("/"), 3) == [False, False, True]


def test_what_is_not_used_goes_after_two_generations(reader: Reader) -> None:
    reader.times(get("/"), 3)
    reader.loop.pass_a_generation()
    assert reader.read(get("/")) is not None
    reader.loop.pass_a_generation()
    reader.loop.pass_a_generation()
    assert reader.read(get("/")) is None
    for _ in range(3):
        reader.loop.pass_a_generation()
    assert reader.loop.timers == []


def test_a_head_above_the_policy_s_bound_is_refused_each_time(reader: Reader) -> None:
    raw = get("/", "X-A: " + "a" * 40_000)
    for _ in range(4):
        with pytest.raises(Malformed):
            reader.read(raw)


def test_clients_cannot_fill_the_memory(reader: Reader) -> None:
    tracemalloc.start()
    try:
        for number in range(12_000):
            raw = get("/", f"X-A: {number} {'a' * 900}", *(f"X-{name}: {number}" for name in "bcdefghijk"))
            for _ in range(2):
                reader.read(raw)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2.4 * known_heads.MOST_BYTES


def test_more_heads_than_fit_do_not_drive_each_other_out(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its turn, all of them would have gone by the time that they come again."""
    monkeypatch.setattr(known_heads, "MOST_BYTES", 64 * 1024)
    heads = [get("/", f"X-A: {number}", "X-B: " + "b" * 500) for number in range(200)]
    for _ in range(3):
        known = [reader.read(head) is not None for head in heads]
    assert 20 < sum(known) < 60
    assert known[:20] == [True] * 20
    assert reader.heads.read(heads[-1], reader.policy, False).key is None, "nothing is worked out for it"
    reader.loop.pass_a_generation()
    assert [reader.read(head) is not None for head in heads] == known, "those that are used stay"
    reader.loop.pass_a_generation()
    reader.loop.pass_a_generation()
    assert reader.times(heads[-1], 3)[-1], "there is room again"
