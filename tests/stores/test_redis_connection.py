"""The connection to Redis: replies as they may come in, and every way in which a connection ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.secret import Secret
from sidecar.stores.redis_connection import QUEUE, RedisConnection, Script
from sidecar.stores.redis_urls import connector, parse_redis_url
from tests.support.redis import redis_server

AWAY = "Redis is not reachable (ConnectionError)"
TIMEOUT = 1.0


@asynccontextmanager
async def answered_with(*pieces: bytes, closes: bool = False) -> AsyncIterator[tuple[RedisConnection, list[bytes]]]:
    """A server that sends the same pieces, one after the other, for whatever it receives first on each connection."""
    received: list[bytes] = []
    serving: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            received.append(await reader.read(1 << 20))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if not closes:
                await reader.read()  # until the other side closes
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = RedisConnection(connector(parse_redis_url(Secret(f"redis://127.0.0.1:{port}")), TIMEOUT), TIMEOUT)
    try:
        yield line, received
    finally:
        await line.close()
        server.close()
        await asyncio.gather(*filter(None, serving))


async def said(line: RedisConnection, *commands: Sequence[Any]) -> Any:
    """Return the replies, or why there are none."""
    try:
        return await line.submit([tuple(command) for command in commands])
    except StoreUnavailable as error:
        return str(error)


TWO = b"$3\r\none\r\n*3\r\n:1\r\n$-1\r\n$3\r\ntwo\r\n"
REPLIES = {
    # (pieces, what the caller of two commands gets)
    "both at once": ([TWO], [b"one", [1, None, b"two"]]),
    "byte by byte": ([TWO[place : place + 1] for place in range(len(TWO))], [b"one", [1, None, b"two"]]),
    "no RESP": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "Redis is not reachable (InvalidResponse)"),
    "full": ([b"+OK\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n"], "Redis refuses: OutOfMemory"),
    "the first is refused": ([b"-WRONGTYPE Operation against a key\r\n+OK\r\n"], "Redis refuses: WRONGTYPE"),
    "loading": ([b"-LOADING Redis is loading the dataset in memory\r\n"], "Redis is not reachable (BusyLoadingError)"),
    "too many clients": ([b"-ERR max number of clients reached\r\n"], AWAY),
}


@pytest.mark.parametrize(("pieces", "expected"), REPLIES.values(), ids=REPLIES)
async def test_replies(pieces: list[bytes], expected: Any) -> None:
    async with answered_with(*pieces) as (line, _):
        assert await said(line, ["GET", "a"], ["LRANGE", "b", 0, -1]) == expected


async def test_a_reply_too_many_belongs_to_nobody() -> None:
    async with answered_with(b"+one\r\n+two\r\n") as (line, _):
        assert await said(line, ["PING"]) == [b"one"]
        assert await said(line, ["PING"]) == [b"one"], "over a new connection"


async def test_all_who_wait_are_told_when_the_connection_ends() -> None:
    async with answered_with(b"+one\r\n$100\r\nhalf of", closes=True) as (line, _):
        told = await asyncio.gather(*(said(line, ["PING"]) for _ in range(3)))
        assert told == [[b"one"], AWAY, AWAY]


async def test_nobody_waits_longer_than_allowed() -> None:
    async with answered_with() as (line, _):
        line.timeout.use(0.05)
        began = asyncio.get_running_loop().time()
        told = await asyncio.gather(said(line, ["PING"]), said(line, ["PING"]))
        assert told == ["Redis did not answer in time"] * 2
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_one_tick_is_one_write() -> None:
    async with answered_with(b"+a\r\n+b\r\n+c\r\n") as (line, received):
        assert await asyncio.gather(*(said(line, ["ECHO", word]) for word in "abc")) == [[b"a"], [b"b"], [b"c"]]
        assert received == [b"".join(b"*2\r\n$4\r\nECHO\r\n$1\r\n%c\r\n" % word for word in b"abc")]


async def test_too_much_is_refused_at_once() -> None:
    async with answered_with() as (line, _):
        waiting = [line.submit([("PING",)]) for _ in range(QUEUE)]
        assert await said(line, ["PING"]) == "too much waits for Redis"
        await line.close()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(error) for error in told} == {"the store is closed"}


async def test_who_has_left_gets_no_answer_and_disturbs_no_other() -> None:
    with redis_server() as server:
        line = RedisConnection(connector(parse_redis_url(Secret(server.url)), TIMEOUT), TIMEOUT)
        left, stays = line.submit([("ECHO", "left")]), line.submit([("ECHO", "stays")])
        left.cancel()
        assert await stays == [b"stays"]
        await line.close()


async def test_scripts_and_plain_commands_in_one_question() -> None:
    """What did not run because the server did not know the script runs again, and that only."""
    with redis_server() as server:
        line = RedisConnection(connector(parse_redis_url(Secret(server.url)), TIMEOUT), TIMEOUT)
        own = Script("session.lua").call(["conversation"], "own", "somebody", 60_000)
        for _ in range(2):
            assert await line.submit([("INCR", "counted"), own, ("INCR", "counted")]) is not None
            server.cli("script", "flush")
        assert await line.submit([("GET", "counted"), own]) == [b"4", b"somebody"]
        await line.close()
