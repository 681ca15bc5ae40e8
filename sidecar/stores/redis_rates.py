"""Sliding windows that replicas share."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from sidecar.errors import StoreUnavailable
from sidecar.limit import Ask, Limit, Take, Takes
from sidecar.stores.interfaces import KnownSession, SessionTakes
from sidecar.stores.memory_rates import KNOWN, Spent
from sidecar.stores.redis_connection import Argument, Command, RedisClient, Script
from sidecar.stores.sliding_window import BUCKETS

PER_SCRIPT: Final = 32
"""Requests in one run of the script: Redis does nothing else meanwhile, some 0.3 ms."""

REFUSED: Final = 20_000
"""Refusals that are remembered here."""

MICRO: Final = 1_000_000

Asked: TypeAlias = tuple[Sequence[Ask], asyncio.Future[Any], float, KnownSession | None]
Request: TypeAlias = tuple[Sequence[Ask], KnownSession | None]
Admitted: TypeAlias = Callable[[Sequence[Ask], float], None]
Lost: TypeAlias = Callable[[StoreUnavailable], None]
Instead: TypeAlias = Callable[[Sequence[Ask], float, StoreUnavailable], Takes]


class RedisRateStore:
    """All limits of a request in one round trip, shared with the other requests of the tick.

    Redis' own clock decides. A window that is full is remembered here until it has room, so that
    a flood is refused without asking Redis (`take` returns a tuple then). `clock` replaces Redis' clock in
    tests. `admitted` is called for each request that passes, `instead` answers
    when Redis does not; without it, `take` raises StoreUnavailable. `lost` is told when `take_with` gets no answer.
    """

    def __init__(self, wire: RedisClient, prefix: str = "sidecar", clock: Callable[[], float] | None = None) -> None:
        self._wire = wire
        self._prefix = prefix
        self._clock = clock
        self._window = Script("now.lua", "window.lua")
        self._merge = Script("now.lua", "merge.lua")
        self._asked: list[Asked] = []
        self._words: dict[int, tuple[Limit, tuple[Argument, ...], str]] = {}
        self.admitted: Admitted | None = None
        self.instead: Instead | None = None
        self.lost: Lost | None = None
        self._full: dict[tuple[str, float, str], tuple[float, int, dict[str, tuple[int, float]]]] = {}

    def take(self, asks: Sequence[Ask], now: float) -> Takes | asyncio.Future[Takes]:
        """Consume one request of every ask, or none; `now` (monotonic) serves the memory of refusals only."""
        if self._full:
            known = self._refused(asks, now)
            if known is not None:
                return known
        return self._ask(asks, now, None)

    def take_with(
        self, known: KnownSession, asks: Sequence[Ask], now: float
    ) -> asyncio.Future[SessionTakes | None] | None:
        """Do the same if a session is as it was read; None where one question cannot reach both."""
        if self._wire.clustered or (self._full and self._refused(asks, now) is not None):
            return None
        return self._ask(asks, now, known)

    def _ask(self, asks: Sequence[Ask], now: float, known: KnownSession | None) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._flush)
        self._asked.append((asks, done, now, known))
        return done

    async def peek(self, asks: Sequence[Ask], now: float) -> Takes:  # noqa: ARG002  # Redis knows the time
        """Answer like `take`, consuming nothing."""
        if not self._wire.clustered:
            (answer,) = await self._wire.submit([self._call("peek", [(asks, None)])])
            return _takes(asks, answer, 0)
        answers = await self._wire.submit([self._call("peek", [([ask], None)]) for ask in asks])
        return tuple(_takes([ask], answer, 0)[0] for ask, answer in zip(asks, answers, strict=True))

    async def reset(self, per: str, subject: str) -> int:
        """Forget every window of one subject; other replicas' memory of it goes within a second (`forget`)."""
        key = self._key(per, subject)
        count, _, _ = await self._wire.submit([("HLEN", key), ("DEL", key), ("INCR", f"{{{self._prefix}}}:resets")])
        self.forget()
        return int(count)

    def forget(self) -> None:
        """Forget the remembered refusals: Redis is asked again."""
        self._full.clear()

    async def merge(self, spent: Sequence[Spent]) -> None:
        """Count what was admitted elsewhere, by its age."""
        commands = []
        for each in spent:
            pairs = [number for ago, count in each.counts for number in (int(ago * MICRO), count)]
            key = self._key(each.limit.per, each.subject)
            commands.append(self._merge.call([key], self._now(), _field(each.limit), _width(each.limit), *pairs))
        await self._wire.submit(commands)

    def _flush(self) -> None:
        asked, self._asked = self._asked, []
        if self._wire.clustered:
            for each in asked:
                self._wire.submit([self._call("take", [([ask], None)]) for ask in each[0]]).add_done_callback(
                    partial(self._gathered, each)
                )
            return
        for start in range(0, len(asked), PER_SCRIPT):
            batch = asked[start : start + PER_SCRIPT]
            command = self._call("take", [(asks, known) for asks, _, _, known in batch])
            self._wire.submit([command], at_once=True).add_done_callback(partial(self._answered, batch))

    def _answered(self, batch: Sequence[Asked], done: asyncio.Future[list[Any]]) -> None:
        """Hand out the answers of one script."""
        error = _failure(done)
        if error is not None:
            for each in batch:
                self._fail(each, error)
            return
        (answer,) = done.result()
        place = 0
        for asks, waiter, now, known in batch:
            seen = None
            if known is not None:
                seen = answer[place]
                place += 1
                if seen is None:
                    if not waiter.done():
                        waiter.set_result(None)
                    continue
            takes = _takes(asks, answer, place)
            if not answer[place]:
                self._remember(asks, takes, now)
            elif self.admitted is not None:
                self.admitted(asks, now)
            place += 1 + 3 * len(asks)
            if not waiter.done():
                waiter.set_result(takes if seen is None else (float(seen), takes))

    def _gathered(self, asked: Asked, done: asyncio.Future[list[Any]]) -> None:
        """Join the answers of a Cluster's nodes; give back what was taken when one of them refused."""
        asks, waiter, now, _ = asked
        error = _failure(done)
        if error is not None:
            self._fail(asked, error)
            return
        answers = done.result()
        takes = tuple(_takes([ask], answer, 0)[0] for ask, answer in zip(asks, answers, strict=True))
        if not all(answer[0] for answer in answers):
            taken = [ask for ask, answer in zip(asks, answers, strict=True) if answer[0] and ask.counted]
            if taken:
                self._wire.submit([self._call("give", [([ask], None)]) for ask in taken]).add_done_callback(_failure)
            takes = tuple(
                Take(True, take.remaining + 1, 0.0, take.reset_after) if answer[0] and ask.counted else take
                for ask, take, answer in zip(asks, takes, answers, strict=True)
            )
            self._remember(asks, takes, now)
        elif self.admitted is not None:
            self.admitted(asks, now)
        if not waiter.done():
            waiter.set_result(takes)

    def _fail(self, asked: Asked, error: StoreUnavailable) -> None:
        """Let the other store decide; a client that has left is not asked for."""
        asks, waiter, now, known = asked
        if waiter.done():
            return
        if known is not None:
            if self.lost is not None:
                self.lost(error)
            waiter.set_result(None)
        elif self.instead is None:
            waiter.set_exception(error)
        else:
            waiter.set_result(self.instead(asks, now, error))

    def _call(self, mode: str, requests: Sequence[Request]) -> Command:
        """Put requests into one run of the script; limits that several requests share are sent once."""
        keys: list[str] = []
        sets: dict[tuple[int, ...], tuple[int, list[str]]] = {}
        rules: list[Argument] = []
        chosen: list[Argument] = []
        for asks, known in requests:
            shape = tuple([id(ask.limit) if ask.counted else -id(ask.limit) for ask in asks])
            entry = sets.get(shape)
            if entry is None:
                said = [self._said(ask.limit, counted=ask.counted) for ask in asks]
                rules += [len(said), *(word for _, rule, _ in said for word in rule)]
                entry = sets[shape] = (len(sets) + 1, [beginning for _, _, beginning in said])
            number, beginnings = entry
            if known is None:
                chosen.append(number)
            else:
                chosen += (-number, known.mark)
                keys.append(known.name)
            keys += [beginning + ask.subject for beginning, ask in zip(beginnings, asks, strict=True)]
        return self._window.call(keys, self._now(), mode, len(sets), *rules, *chosen)

    def _said(self, limit: Limit, *, counted: bool) -> tuple[Limit, tuple[Argument, ...], str]:
        """Return a limit as the script's arguments, and the beginning of its keys; computed once."""
        key = id(limit) if counted else -id(limit)
        entry = self._words.get(key)
        if entry is None:
            if len(self._words) >= KNOWN:
                self._words.clear()
            rule = (_field(limit), str(limit.limit if counted else -limit.limit), str(_width(limit)))
            # The limit itself is kept beside it: its id cannot be used anew meanwhile.
            entry = self._words[key] = (limit, rule, self._key(limit.per, ""))
        return entry

    def _remember(self, asks: Sequence[Ask], takes: Takes, now: float) -> None:
        """Note which of the asks refused and until when, and how the others stood then."""
        if len(self._full) >= REFUSED:
            self._full = {name: entry for name, entry in self._full.items() if entry[0] > now}
            if len(self._full) >= REFUSED:
                self._full.clear()
        others = {
            ask.limit.name: (take.remaining, now + take.reset_after) for ask, take in zip(asks, takes, strict=True)
        }
        for ask, take in zip(asks, takes, strict=True):
            if not take.allowed and ask.counted:
                name = (ask.limit.name, ask.limit.window, ask.subject)
                self._full[name] = (now + take.retry_after, ask.limit.limit, others)

    def _refused(self, asks: Sequence[Ask], now: float) -> Takes | None:
        """Answer from memory when one of the asks is known to be full."""
        for ask in asks:
            entry = self._full.get((ask.limit.name, ask.limit.window, ask.subject)) if ask.counted else None
            if entry is not None and entry[0] > now and entry[1] >= ask.limit.limit:
                return tuple([self._recalled(each, entry[2], now) for each in asks])
        return None

    def _recalled(self, ask: Ask, others: dict[str, tuple[int, float]], now: float) -> Take:
        limit = ask.limit
        entry = self._full.get((limit.name, limit.window, ask.subject))
        remaining, until = others.get(limit.name, (limit.limit, now))
        empty = max(0.0, until - now)
        if entry is not None and entry[0] > now and entry[1] >= limit.limit:
            return Take(False, 0, entry[0] - now, empty)
        return Take(True, max(1, remaining), 0.0, empty)

    def _key(self, per: str, subject: str) -> str:
        return f"{self._prefix}:r:{per}:{subject}"

    def _now(self) -> str:
        return "" if self._clock is None else str(int(self._clock() * MICRO))


def _field(limit: Limit) -> str:
    return f"{limit.name}:{limit.window}"


def _width(limit: Limit) -> int:
    return math.ceil(limit.window * MICRO / BUCKETS)


def _takes(asks: Sequence[Ask], answer: Sequence[int], place: int) -> Takes:
    """Read one request's part of an answer."""
    allowed = answer[place]
    takes = []
    make = tuple.__new__
    place += 1
    for ask in asks:
        remaining = max(0, ask.limit.limit - answer[place])
        wait = answer[place + 1] / MICRO
        takes.append(make(Take, (bool(allowed or remaining > 0), remaining, wait, answer[place + 2] / MICRO)))
        place += 3
    return tuple(takes)


def _failure(done: asyncio.Future[Any]) -> StoreUnavailable | None:
    """Return why there is no answer, None if there is one."""
    if done.cancelled():
        return StoreUnavailable("the store is closed")
    error = done.exception()
    return error if error is None or isinstance(error, StoreUnavailable) else StoreUnavailable(type(error).__name__)
