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
from typing import Any, Final, Protocol, TypeAlias, cast

from hiredis import Reader, pack_command
from redis._parsers.base import BaseParser
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

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

_NOTHING: Final = object()
"""What the reader returns while the next reply is not complete."""

Argument: TypeAlias = str | bytes | int | float


class Script:
    """A Lua script of one or more files of this folder. Sent by its hash; in full when the server does not know it."""

    def __init__(self, *names: str) -> None:
        folder = resources.files("sidecar.stores")
        self.text = "".join([folder.joinpath(name).read_text() for name in names])
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

    def submit(
        self, commands: Sequence[Command], wait: float | None = None, *, at_once: bool = False
    ) -> asyncio.Future[list[Any]]:
        """Send commands together; the future holds their replies, or StoreUnavailable after `wait` seconds.

        `wait` None: the timeout that requests have. `at_once`: the caller has gathered what this tick asks for.
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


def packed(command: Command, full: bool = False) -> bytes:
    """Return a command in the form in which Redis reads it."""
    try:
        return bytes(pack_command(words(command, full)))
    except UnicodeError:
        return bytes(pack_command(encoded(words(command, full))))


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

    __slots__ = ("answers", "began", "commands", "deadline", "done", "full", "refused")

    def __init__(
        self, commands: Sequence[Command], done: asyncio.Future[list[Any]], began: float, deadline: float
    ) -> None:
        self.commands = commands
        self.done = done
        self.began = began
        self.deadline = deadline
        self.answers: list[Any] = []
        self.full = False
        self.refused = False  # an answer is an error


class _Replies:
    """The protocol of one connection that redis-py has opened: hands over each reply as it comes."""

    def __init__(
        self, connection: Connection, received: Callable[[Any], None], failed: Callable[[StoreUnavailable], None]
    ) -> None:
        self.connection = connection
        self._reader = Reader(InvalidResponse, BaseParser.parse_error, notEnoughData=_NOTHING)
        self._received = received
        self._failed = failed
        writer = connection._writer  # noqa: SLF001  # logged in by now, and silent until it is asked
        assert writer is not None
        self.transport = writer.transport
        self.transport.set_protocol(cast(asyncio.Protocol, self))
        self.closed = False

    def data_received(self, data: bytes) -> None:
        """Read what has come; an error that is one of the connection ends it."""
        try:
            self._reader.feed(data)
            while not self.closed:
                reply = self._reader.gets()
                if reply is _NOTHING:
                    return
                if isinstance(reply, RedisConnectionError):
                    self._lost(reply)
                else:
                    self._received(reply)
        except Exception as error:  # noqa: BLE001  # whatever it is, the waiting callers must get an answer
            self._lost(error)

    def eof_received(self) -> None:
        """Redis closes the connection."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed."""
        self._lost(error or ConnectionError())

    def pause_writing(self) -> None:
        """Nothing: what may wait is bounded, in number and in time."""

    def resume_writing(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Close it at once: replies that still come belong to no caller."""
        self.closed = True
        self.connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001  # the only way to close without waiting for the other side
        self.transport.abort()

    def _lost(self, error: Exception) -> None:
        if not self.closed:
            self._failed(unavailable(error))


class RedisConnection:
    """A RedisClient over one connection, made anew by `connect` after any failure."""

    clustered = False

    def __init__(self, connect: Callable[[], Awaitable[Connection]], timeout: float = TIMEOUT) -> None:
        self._connect = connect
        self.timeout = ResponseTimeout(timeout)
        self._waiting: list[_Submission] = []
        self._flight: deque[_Submission] = deque()
        self._replies: _Replies | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._patient: _Submission | None = None  # who was given a moment more

    def submit(
        self, commands: Sequence[Command], wait: float | None = None, *, at_once: bool = False
    ) -> asyncio.Future[list[Any]]:
        """Send commands with all else of this tick."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Any]] = loop.create_future()
        if len(self._waiting) + len(self._flight) >= QUEUE:
            done.set_exception(StoreUnavailable("too much waits for Redis"))
            return done
        began = loop.time()
        deadline = began + (wait or self.timeout.current)
        if self._watch is None:
            self._watch = loop.call_at(deadline, self._look)
        if at_once:
            self._waiting.append(_Submission(commands, done, began, deadline))
            self._send()
        else:
            self._put(_Submission(commands, done, began, deadline))
        return done

    async def close(self) -> None:
        """Fail what waits, and close the connection."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        self._hang_up(StoreUnavailable("the store is closed"))

    def _put(self, submission: _Submission) -> None:
        """Send a submission at the end of this tick, or once there is a connection."""
        if not self._waiting and self._opening is None:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(submission)

    def _send(self) -> None:
        """Write all that waits."""
        if self._replies is None:
            if self._opening is None and self._waiting:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            return
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            whole = b"".join([packed(command, sent.full) for sent in batch for command in sent.commands])
            self._flight.extend(batch)
            self._replies.transport.write(whole)
        except Exception as error:  # noqa: BLE001  # whatever it is, the waiting callers must get an answer
            self._hang_up(unavailable(error))

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(max(CONNECT, self.timeout.most)):
                connection = await self._connect()
            self._replies = _Replies(connection, self._received, self._hang_up)
        except Exception as error:  # noqa: BLE001  # as above
            self._opening = None
            self._hang_up(unavailable(error))
        else:
            self._opening = None
            self._send()

    def _received(self, reply: Any) -> None:
        if not self._flight:
            raise InvalidResponse("a reply that nothing was asked for")
        self._settle(self._flight[0], reply)

    def _settle(self, sent: _Submission, answer: Any) -> None:
        sent.answers.append(answer)
        if isinstance(answer, Exception):
            sent.refused = True
        if len(sent.answers) < len(sent.commands):
            return
        self._flight.popleft()
        self.timeout.measured(asyncio.get_running_loop().time() - sent.began)
        if sent.done.done():
            return
        if not sent.refused:
            sent.done.set_result(sent.answers)
            return
        unknown = [isinstance(each, NoScriptError) for each in sent.answers]
        if any(unknown) and not sent.full:
            self._send_in_full(sent, unknown)
            return
        sent.done.set_exception(unavailable(next(each for each in sent.answers if isinstance(each, Exception))))

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
        self._put(again)

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
        """Fail all waiting callers, and close the connection."""
        lost = [*self._flight, *self._waiting]
        self._flight.clear()
        self._waiting.clear()
        replies, self._replies = self._replies, None
        self._patient = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if replies is not None:
            replies.close()
        for sent in lost:
            if not sent.done.done():
                sent.done.set_exception(error)
