"""A session and its request's limits in one question to Redis: the same answers as from two, in one round trip."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.admission import admit, inspect
from sidecar.decision import PASS, Refuse, Waiting, settled
from sidecar.exchange import Client
from sidecar.guard import BodyStep, Step
from sidecar.guards.limits.body_rate_limit import HeadRateLimits, build_body_rate_limit, split
from sidecar.guards.limits.rate_limit import build_rate_limit
from sidecar.guards.sessions.session import Binding, BodySessionGuard, Need, SessionGuard
from sidecar.guards.sessions.session_and_limits import asked_together, asked_together_in_body
from sidecar.guards.sessions.session_id import SessionIdGuard, SessionIdSources
from sidecar.limit import Limit, Per
from sidecar.secret import Secret
from sidecar.session import Session, key_of, seal_of
from sidecar.stores.failover import Circuit, FailoverRateStore
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.memory_sessions import MemorySessionStore
from sidecar.stores.redis_connection import RedisConnection
from sidecar.stores.redis_rates import RedisRateStore
from sidecar.stores.redis_sessions import RedisSessionStore
from sidecar.stores.redis_urls import connector, parse_redis_url
from sidecar.vocabulary import Code
from tests.support.clock import FakeClock
from tests.support.exchanges import Recorder, exchange
from tests.support.redis import RedisServer, redis_server

NOW = 1_800_000_000.0
HERE = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
FAR = Client("198.51.100.7", "198.51.100.7", "198.51.100.0/24")
GOOD, OTHER = "A" * 43, "B" * 43
LIMITS = (Limit("ip", Per.IP, 6, 60.0), Limit("org", Per.ORGANIZATION, 100, 60.0), Limit("own", Per.SESSION, 4, 60.0))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


class Guards:
    """The guards of one route over Redis, asked together or one after the other; the session is in `place`."""

    def __init__(
        self,
        line: RedisConnection,
        *,
        together: bool,
        enforce: bool = True,
        binding: Binding = Binding.PREFIX,
        limit: bool = True,
        place: str = "head",
        limits: tuple[Limit, ...] = LIMITS,
    ) -> None:
        prefix = f"sidecar-{together}"
        self.asked = 0
        self.submit, line.submit = line.submit, self._count  # type: ignore[method-assign]
        self.sessions = RedisSessionStore(line, prefix=prefix)
        self.in_body = place == "body"
        rates = RedisRateStore(line, prefix, clock=lambda: NOW)
        guard = SessionGuard(self.sessions, Need.REQUIRED, binding=binding, idle=3600, in_body=self.in_body)
        whole = build_rate_limit(limits, rates, waits=True)
        head, body = (Step(whole, limit),) if limits else (), ()
        at_head, late = split(limits)
        if self.in_body and late:
            first = build_rate_limit(at_head, rates, waits=True)
            joined = build_body_rate_limit(first, build_rate_limit(late, rates, waits=True))
            head, body = (Step(HeadRateLimits(first, whole), limit), Step(joined, limit)), (BodyStep(joined, limit),)
        in_body = (
            BodyStep(BodySessionGuard(SessionIdGuard(SessionIdSources()), guard, lambda *_: [self.found]), enforce),
        )
        self.found = ""
        services: Any = SimpleNamespace(sessions=self.sessions, rates=rates)
        if together:
            self.steps = asked_together((Step(guard, enforce),), head, services)
            self.body = asked_together_in_body(in_body, body, services)
        else:
            self.steps, self.body = (Step(guard, enforce), *head), (*in_body, *body)
        self.recorder = Recorder()

    def _count(self, *given: Any, **more: Any) -> Any:
        self.asked += 1
        return self.submit(*given, **more)

    async def ask(self, session_id: str = GOOD, client: Client = HERE, at: float = 0.0) -> tuple[Any, ...]:
        """Return the decision, the guard that refused, the session, and what is left of each limit."""
        asked = exchange("POST", client=client, now=NOW + at, Content_Length="2")
        if self.in_body:
            self.found = session_id
        else:
            asked.session_id, asked.session_key = session_id, key_of(session_id)
        decision = await settled(admit(asked, self.steps, self.recorder))
        if decision is PASS:
            decision = await settled(inspect(asked, b"{}", self.body, self.recorder))
        left = None if asked.limits is None else tuple(take.remaining for take in asked.limits.takes)
        assert asked.taken is None
        code = decision.code if isinstance(decision, Refuse) else None
        return code, asked.refused_by, asked.session and asked.session.key, left

    async def begin(self, session_id: str = GOOD, **changes: Any) -> None:
        made = Session(key_of(session_id), "default", NOW, NOW, HERE.network, HERE.address, NOW + 86400)
        await self.sessions.create(replace(made, **changes), seal_of(session_id), 3600)


@asynccontextmanager
async def guards(server: RedisServer, *, together: bool = True, **given: Any) -> AsyncIterator[Guards]:
    server.cli("flushall")
    line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 5.0)
    try:
        yield Guards(line, together=together, **given)
    finally:
        await line.close()


async def times(made: Guards, number: int, **given: Any) -> list[tuple[Any, ...]]:
    return [await made.ask(**given) for _ in range(number)]


async def used(made: Guards) -> list[Any]:
    await made.begin()
    return await times(made, 3)


async def until_the_session_is_full(made: Guards) -> list[Any]:
    await made.begin()
    return await times(made, 6)


async def until_the_address_is_full(made: Guards) -> list[Any]:
    await made.begin()
    await made.begin(OTHER)
    return [*await times(made, 4), *await times(made, 4, session_id=OTHER)]


async def ended_elsewhere(made: Guards) -> list[Any]:
    await made.begin()
    first = await times(made, 2)
    await RedisSessionStore(made.sessions._wire, prefix=made.sessions._prefix).delete(key_of(GOOD))  # another replica
    refused = await times(made, 2)
    await made.begin()
    return [*first, *refused, *await times(made, 1)]


async def begun_anew_elsewhere(made: Guards) -> list[Any]:
    """The same id stands for a session of another network: a backend gave it again."""
    await made.begin()
    first = await times(made, 2)
    replica = RedisSessionStore(made.sessions._wire, prefix=made.sessions._prefix)
    again = Session(key_of(GOOD), "default", NOW, NOW, FAR.network, FAR.address, NOW + 86400)
    await replica.create(again, seal_of(GOOD), 3600)
    return [*first, *await times(made, 2), *await times(made, 2, client=FAR)]


async def stolen(made: Guards) -> list[Any]:
    await made.begin()
    return [*await times(made, 2), *await times(made, 2, client=FAR), *await times(made, 1)]


async def over(made: Guards) -> list[Any]:
    await made.begin(expires=NOW + 10)
    return [*await times(made, 2), *await times(made, 2, at=10.0)]


async def forged(made: Guards) -> list[Any]:
    return await times(made, 2)


SCENARIOS = (
    used,
    until_the_session_is_full,
    until_the_address_is_full,
    ended_elsewhere,
    begun_anew_elsewhere,
    stolen,
    over,
    forged,
)
SORTS = {
    "as by default": {},
    "sessions observed": {"enforce": False},
    "limits observed": {"limit": False},
    "moves noted": {"binding": Binding.LOG},
    "in the body": {"place": "body"},
    "in the body, sessions observed": {"place": "body", "enforce": False},
    "in the body, limits observed": {"place": "body", "limit": False},
    "in the body, no limit of sessions": {"place": "body", "limits": LIMITS[:2]},
    "no limits": {"limits": ()},
}


@pytest.mark.parametrize("given", SORTS.values(), ids=SORTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_answers_are_those_of_two_questions(
    server: RedisServer, scenario: Callable[[Guards], Awaitable[list[Any]]], given: dict[str, Any]
) -> None:
    said = []
    for together in (True, False):
        async with guards(server, together=together, **given) as made:
            answers = await scenario(made)
            said.append((answers, [(event.event, event.outcome, event.detail) for event in made.recorder.events]))
    assert said[0] == said[1]


KEY = key_of(GOOD)
REFUSED = (Code.INVALID_SESSION_ID, "session", None, None)


async def test_a_refused_session_is_counted_by_no_limit(server: RedisServer) -> None:
    async with guards(server) as made:
        assert await ended_elsewhere(made) == [
            (None, "", KEY, (5, 99, 3)),
            (None, "", KEY, (4, 98, 2)),
            REFUSED,
            REFUSED,
            (None, "", KEY, (3, 97, 1)),
        ]


QUESTIONS = {
    # Read once; its use is written once a minute. What is in the body can be asked for only after it was read.
    "in the head": ({}, [2, 1, 2, 1]),
    "in the head, no limits": ({"limits": ()}, [1, 1, 2, 1]),
    "in the body": ({"place": "body"}, [3, 2, 3, 2]),
    "in the body, no limit of sessions": ({"place": "body", "limits": LIMITS[:2]}, [2, 2, 3, 2]),
}


@pytest.mark.parametrize(("given", "expected"), QUESTIONS.values(), ids=QUESTIONS)
async def test_questions_about_a_session(server: RedisServer, given: dict[str, Any], expected: list[int]) -> None:
    async with guards(server, **given) as made:
        await made.begin()
        asked = []
        for at in (0.0, 1.0, 61.0, 62.0):
            before = made.asked
            assert (await made.ask(at=at))[0] is None
            asked.append(made.asked - before)
        assert asked == expected


async def test_without_redis_sessions_are_refused_and_nothing_is_counted() -> None:
    with redis_server() as server:
        line = RedisConnection(connector(parse_redis_url(Secret(server.url)), 5.0), 0.3)
        sessions, recorder = RedisSessionStore(line), Recorder()
        circuit = Circuit("redis", recorder, FakeClock())
        circuit.close()
        mirror = MemoryRateStore()
        rates = FailoverRateStore(RedisRateStore(line), mirror, circuit)
        limits = build_rate_limit(LIMITS, rates, waits=True)
        guard = SessionGuard(sessions, Need.REQUIRED, binding=Binding.PREFIX, idle=3600)
        services: Any = SimpleNamespace(sessions=sessions, rates=rates)
        steps = asked_together((Step(guard),), (Step(limits),), services)
        made = Session(KEY, "default", NOW, NOW, HERE.network, HERE.address)
        await sessions.create(made, seal_of(GOOD), 3600)
        for lost in (False, False, True):
            if lost:
                server.kill()
            asked = exchange("GET", client=HERE, now=NOW)
            asked.session_id, asked.session_key = GOOD, KEY
            decision = await settled(admit(asked, steps, recorder))
            assert (decision is PASS) is not lost
        assert isinstance(decision, Refuse)
        assert decision.code is Code.OVERLOADED
        assert recorder.names() == ["STORE_DEGRADED"]
        assert [take.remaining for take in mirror.peek(limits.asks(asked), asked.started)][:2] == [4, 98]
        await line.close()


async def test_a_client_that_leaves_while_it_waits_is_counted_all_the_same(server: RedisServer) -> None:
    async with guards(server) as made:
        await made.begin()
        await made.ask()
        asked = exchange("POST", client=HERE, now=NOW)
        asked.session_id, asked.session_key = GOOD, KEY
        waits = admit(asked, made.steps, made.recorder)
        assert isinstance(waits, Waiting)
        waits.awaitable.cancel()  # type: ignore[attr-defined]
        assert await made.ask() == (None, "", KEY, (3, 97, 1))


def test_sessions_in_memory_are_asked_alone() -> None:
    guard = SessionGuard(MemorySessionStore(), Need.REQUIRED, binding=Binding.PREFIX, idle=3600)
    limits = build_rate_limit(LIMITS, MemoryRateStore(), waits=False)
    services: Any = SimpleNamespace(sessions=MemorySessionStore(), rates=MemoryRateStore())
    assert asked_together((Step(guard),), (Step(limits),), services) == (Step(guard), Step(limits))
