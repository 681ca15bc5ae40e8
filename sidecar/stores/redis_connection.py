"""One connection to Redis that all callers of this process share.

What is submitted in one tick of the loop leaves in one write; replies are read in order while more is
sent. No caller waits longer than `timeout`, connecting included, and nothing is retried: a caller that
gets StoreUnavailable has a fallback.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any, Final, Protocol, TypeAlias

from redis.asyncio import Connection
from redis.exceptions import NoScriptError, ResponseError

from sidecar.errors import StoreUnavailable
from sidecar.stores.response_timeout import ResponseTimeout

TIMEOUT: Final = 0.06
"""Seconds that a request may wait for Redis, connecting included."""

CONNECT: Final = 0.5
"""Seconds that making a connection may take in the background: TLS and a sentinel need several round trips."""

OWN_DELAY: Final = 0.005
"""Seconds by which our own loop may be late before that is not laid to Redis."""

GRACE: Final = 0.01
"""Seconds in which answers are read that came while our own loop was late."""

QUEUE: Final = 10_000
"""Submissions that may wait or be in flight; more are refused at once."""

BATCH: Final = 256
"""Submissions in one write."""

Argument: TypeAlias = str | bytes | int | float


class Script:
    """A Lua script of this folder. Sent by its hash; in full when the server does not know it."""

    def __init__(self, name: str) -> None:
        self.text = resources.files("sidecar.stores").joinpath(name).read_text()
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Return the command that runs it."""
        return (self, len(keys), *keys, *arguments)


Command: TypeAlias = tuple[Any, ...]
"""The arguments of a command; or a Script, the number of its keys, the keys, the arguments."""


class RedisClient(Protocol):
    """Where commands go. `clustered`: a script's keys must share a slot."""

    clustered: bool
    timeout: ResponseTimeout

    def submit(self, commands: Sequence[Command], wait: float | None = None) -> asyncio.Future[list[Any]]:
        """Send commands together; the future holds their replies, or StoreUnavailable after `wait` seconds.

        None: the timeout that requests have.
        """
        ...

    async def close(self) -> None:
        """Close the connections; waiting commands fail with StoreUnavailable."""
        ...


def words(command: Command, full: bool = False) -> tuple[Any, ...]:
    """Return the arguments as they are sent."""
    script = command[0]
    if not isinstance(script, Script):
        return command
    return ("EVAL", script.text, *command[1:]) if full else ("EVALSHA", script.digest, *command[1:])


def encoded(command: Command) -> Command:
    """Return a command in bytes; a name from a token's JSON may contain surrogates, which UTF-8 cannot encode."""
    rest = [word.encode("utf-8", "surrogatepass") if isinstance(word, str) else word for word in command[1:]]
    return (command[0], *rest)  # redis-py looks up its first argument


def _packed(connection: Connection, command: Command, full: bool) -> list[bytes]:
    try:
        return connection.pack_command(*words(command, full))
    except UnicodeError:
        return connection.pack_command(*encoded(words(command, full)))


def unavailable(error: BaseException) -> StoreUnavailable:
    """Return the error in a word or two, without address or password."""
    if isinstance(error, StoreUnavailable):
        return error
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return StoreUnavailable("Redis did not answer in time")
    if isinstance(error, ResponseError):
        # The first word of a Redis error is its name (OOM, READONLY, LOADING, NOAUTH); the rest may quote data.
        kind = type(error).__name__.removesuffix("Error")
        first = str(error).partition(" ")[0]
        return StoreUnavailable(f"Redis refuses: {first if first.isupper() else kind}"[:60])
    return StoreUnavailable(f"Redis is not reachable ({type(error).__name__})")


class _Submission:
    """Commands on their way, and who waits for the answers."""

    __slots__ = ("answers", "began", "commands", "deadline", "done", "full")

    def __init__(
        self, commands: Sequence[Command], done: asyncio.Future[list[Any]], began: float, deadline: float
    ) -> None:
        self.commands = commands
        self.done = done
        self.began = began
        self.deadline = deadline
        self.answers: list[Any] = []
        self.full = False


class RedisConnection:
    """A RedisClient over one connection, made anew by `connect` after any failure."""

    clustered = False

    def __init__(self, connect: Callable[[], Awaitable[Connection]], timeout: float = TIMEOUT) -> None:
        self._connect = connect
        self.timeout = ResponseTimeout(timeout)
        self._waiting: deque[_Submission] = deque()
        self._flight: deque[_Submission] = deque()
        self._wake = asyncio.Event()
        self._flying = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._connection: Connection | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._patient: _Submission | None = None  # who was given a moment more

    def submit(self, commands: Sequence[Command], wait: float | None = None) -> asyncio.Future[list[Any]]:
        """Send commands with all else of this tick."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Any]] = loop.create_future()
        if len(self._waiting) + len(self._flight) >= QUEUE:
            done.set_exception(StoreUnavailable("too much waits for Redis"))
            return done
        if not self._tasks:
            self._tasks = [loop.create_task(self._write()), loop.create_task(self._read())]
        began = loop.time()
        deadline = began + (wait or self.timeout.current)
        self._waiting.append(_Submission(commands, done, began, deadline))
        self._wake.set()
        if self._watch is None:
            self._watch = loop.call_at(deadline, self._look)
        return done

    async def close(self) -> None:
        """Fail what waits, and close the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._hang_up(StoreUnavailable("the store is closed"))

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            try:
                if self._connection is None:
                    async with asyncio.timeout(max(CONNECT, self.timeout.most)):
                        self._connection = await self._connect()
                connection = self._connection
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if not self._waiting:
                    self._wake.clear()
                if not batch:
                    continue
                packed = [_packed(connection, command, sent.full) for sent in batch for command in sent.commands]
                self._flight.extend(batch)
                self._flying.set()
                whole = b"".join([piece for pieces in packed for piece in pieces])
                await connection.send_packed_command([whole], False)  # one piece: each would be an object of the loop
            except Exception as error:  # noqa: BLE001  # whatever it is, the waiting callers must get an answer
                self._hang_up(unavailable(error))

    async def _read(self) -> None:
        while True:
            await self._flying.wait()
            connection = self._connection
            if connection is None or not self._flight:
                self._flying.clear()
                continue
            sent = self._flight[0]
            try:
                answer = await self._answer(connection)
            except Exception as error:  # noqa: BLE001  # as above
                if connection is self._connection:
                    self._hang_up(unavailable(error))
                continue
            if self._flight and self._flight[0] is sent:
                self._settle(sent, answer)

    @staticmethod
    async def _answer(connection: Connection) -> Any:
        """Read one answer; a server's refusal is an answer too."""
        try:
            return await connection.read_response(timeout=float("inf"))
        except ResponseError as error:
            return error

    def _settle(self, sent: _Submission, answer: Any) -> None:
        sent.answers.append(answer)
        if len(sent.answers) < len(sent.commands):
            return
        self._flight.popleft()
        if not self._flight:
            self._flying.clear()
        self.timeout.measured(asyncio.get_running_loop().time() - sent.began)
        if sent.done.done():
            return
        unknown = [isinstance(each, NoScriptError) for each in sent.answers]
        if any(unknown) and not sent.full:
            self._send_in_full(sent, unknown)
            return
        for each in sent.answers:
            if isinstance(each, Exception):
                sent.done.set_exception(unavailable(each))
                return
        sent.done.set_result(sent.answers)

    def _send_in_full(self, sent: _Submission, unknown: list[bool]) -> None:
        """Run again what did not run because the server did not know its script, and that only."""
        again = _Submission([], asyncio.get_running_loop().create_future(), sent.began, sent.deadline)
        again.commands = [command for command, missed in zip(sent.commands, unknown, strict=True) if missed]
        again.full = True

        def fill(done: asyncio.Future[list[Any]]) -> None:
            if sent.done.done() or done.cancelled():
                return
            error = done.exception()
            if error is not None:
                sent.done.set_exception(error)
                return
            rest = iter(done.result())
            filled = [next(rest) if missed else each for each, missed in zip(sent.answers, unknown, strict=True)]
            broken = next((each for each in filled if isinstance(each, Exception)), None)
            if broken is not None:
                sent.done.set_exception(unavailable(broken))
            else:
                sent.done.set_result(filled)

        again.done.add_done_callback(fill)
        self._waiting.append(again)
        self._wake.set()

    def _look(self) -> None:
        """Close the connection when the oldest submission is overdue: the answers behind it would be late as well."""
        self._watch = None
        oldest = self._flight[0] if self._flight else self._waiting[0] if self._waiting else None
        if oldest is None:
            return
        loop = asyncio.get_running_loop()
        late = loop.time() - oldest.deadline
        if late >= OWN_DELAY and self._patient is not oldest:
            # Our loop stood still: the answer may have come meanwhile, and wants to be read first.
            self._patient = oldest
            self._watch = loop.call_later(GRACE, self._look)
        elif late >= 0:
            self.timeout.missed()
            self._hang_up(StoreUnavailable("Redis did not answer in time"))
        else:
            self._watch = loop.call_at(oldest.deadline, self._look)

    def _hang_up(self, error: StoreUnavailable) -> None:
        """Fail all waiting callers, and close the connection: replies that still come belong to no caller."""
        lost = [*self._flight, *self._waiting]
        self._flight.clear()
        self._waiting.clear()
        self._wake.clear()
        connection, self._connection = self._connection, None
        self._patient = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if connection is not None:
            connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001  # the only way to close without waiting for the other side
        self._flying.set()
        for sent in lost:
            if not sent.done.done():
                sent.done.set_exception(error)
